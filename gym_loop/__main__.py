"""``python -m gym_loop``: the same as the ``gym-loop`` command."""

from gym_loop.cli.app import main

if __name__ == "__main__":
    main()
