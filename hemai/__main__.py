"""`python -m hemai <verb>` is `hemai <verb>`."""

from hemai.cli import app

if __name__ == "__main__":
    app(prog_name="hemai")
