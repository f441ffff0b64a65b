"""What a quantised file is worth: importance matrices, evaluation against a reference, reports."""
