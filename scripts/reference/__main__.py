"""Write all generated files: `python -m scripts.reference`, or `make reference`."""

from scripts.reference.files import generated_files


def main() -> None:
    """Write each file that is outdated."""
    for path, content in generated_files().items():
        if not path.exists() or path.read_text() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            print(f"written: {path}")


if __name__ == "__main__":
    main()
