"""Writes what the demo agent found, as markdown for a person who wants to begin."""

from collections import Counter

from headstart_demo_agent.survey import Files, Found, History

_ENTRIES = 14
_LANGUAGES = 5
_CHANGES = 10
_PROMPT_CHARACTERS = 200


def compose(
    prompt: str, files: Files, history: History, found: Found | None, *, earlier: list[str]
) -> str:
    """Return the whole answer."""
    sections = [_opening(prompt, history, earlier)]
    if not files.paths:
        sections.append(_empty(history))
    else:
        sections += [_about(files), _layout(files), _where(found), _history(history)]
        sections.append(_next_step(found, files))
    sections.append(
        "_I am Headstart's built-in demo agent: I read the repository for real, but there is no "
        "model behind me and I change nothing. Start a session with another agent to have the "
        "work done._"
    )
    return "\n\n".join(section for section in sections if section) + "\n"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _PROMPT_CHARACTERS else line[:_PROMPT_CHARACTERS].rstrip() + "…"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def _opening(prompt: str, history: History, earlier: list[str]) -> str:
    lines = [f"> {_short(prompt)}", ""]
    if earlier:
        before = f"This follows what you asked before: “{_short(earlier[-1])}”"
        more = len(earlier) - 1
        lines += [before + (f" (and {_count(more, 'message')} before that)." if more else "."), ""]
    on = f" on branch `{history.branch}`" if history.branch else ""
    lines.append(f"I have read the repository{on}. Here is what matters for this.")
    return "\n".join(lines)


def _empty(history: History) -> str:
    state = "has no commit yet" if not history.commits else "has no files"
    return (
        f"## An empty repository\n\nThe repository {state}, so this is a fresh start. A good first "
        "commit has a `README.md` that says what is being built, a `.gitignore`, and the smallest "
        "thing that runs, with one test."
    )


def _about(files: Files) -> str:
    lines = [f"## {files.title or 'What is here'}", ""]
    if files.about:
        lines += [files.about, ""]
    total = sum(count for _, _, count in files.languages)
    sizes = f"**{_count(len(files.paths), 'file')}**"
    if total:
        sizes += f", {_count(total, 'line')} of text"
    lines.append(sizes + ".")
    if files.languages:
        lines += ["", "| language | files | lines |", "|---|---:|---:|"]
        lines += [
            f"| {name} | {count:,} | {length:,} |"
            for name, count, length in files.languages[:_LANGUAGES]
        ]
    return "\n".join(lines)


def _layout(files: Files) -> str:
    entries = files.top_level()
    lines = ["## Layout", ""]
    for name, count in entries[:_ENTRIES]:
        lines.append(f"- `{name}`" + (f" ({_count(count, 'file')})" if count else ""))
    if len(entries) > _ENTRIES:
        lines.append(f"- … and {len(entries) - _ENTRIES:,} more")
    return "\n".join(lines)


def _where(found: Found | None) -> str:
    if found is None:
        return ""
    words = ", ".join(f"`{word}`" for word in found.words)
    lines = ["## Where your request lands", ""]
    if not found.quotes and not found.names:
        return "\n".join(
            [*lines, f"Nothing here mentions {words} yet: this will be something new."]
        )
    lines.append(f"I looked for {words} and found them in {_count(found.files, 'file')}:")
    lines.append("")
    for path, number, text in found.quotes:
        quote = text.replace("`", "'")
        lines.append(f"- `{path}:{number}` — `{quote}`")
    quoted = {path for path, _, _ in found.quotes}
    names = [name for name in found.names if name not in quoted][:4]
    if names:
        lines += ["", "By name alone: " + ", ".join(f"`{name}`" for name in names) + "."]
    return "\n".join(lines)


def _history(history: History) -> str:
    lines = ["## Recent history", ""]
    for short, date, author, subject in history.commits:
        lines.append(f"- `{short}` {subject} ({author}, {date})")
    if not history.commits:
        lines.append("There is no commit yet.")
    if history.changes:
        lines += ["", f"Not committed ({_count(len(history.changes), 'change')}):", ""]
        lines += [f"- `{change}`" for change in history.changes[:_CHANGES]]
    else:
        lines += ["", "The work tree is clean."]
    return "\n".join(lines)


def _next_step(found: Found | None, files: Files) -> str:
    if found and found.quotes:
        most = Counter(path for path, _, _ in found.quotes).most_common(1)[0][0]
        step = f"Begin in `{most}`, where the words of your request meet most often"
    elif files.about:
        step = "Begin with the README, then the folder whose name is nearest to your request"
    else:
        step = "Begin with the largest folder above"
    tests = [path for path in files.paths if "test" in path.lower()]
    then = (
        f", and extend the tests next to `{tests[0]}`."
        if tests
        else ", and add a first test with it: I found none."
    )
    return "## A first step\n\n" + step + then
