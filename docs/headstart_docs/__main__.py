"""`make docs`: writes the OpenAPI document and the made parts of docs/api.md."""

from headstart_docs.files import made

if __name__ == "__main__":
    for path, text in made().items():
        path.write_text(text)
