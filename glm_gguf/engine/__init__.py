"""Many answers at once through one context: scheduler, KV cache, requests, and the thread that runs them."""
