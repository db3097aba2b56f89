"""``python -m nest_tune`` is the command ``nest-tune``."""

from nest_tune.cli import main

if __name__ == "__main__":
    main()
