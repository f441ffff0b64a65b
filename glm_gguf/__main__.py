"""`python -m glm_gguf` is the `glm-gguf` command."""

from glm_gguf.cli.main import main

if __name__ == "__main__":
    main()
