"""The Berkeley function-calling data: questions, the model's calls, and scores as the leaderboard counts them."""
