def find_image(files: Files, name: str, near: str) -> str | None:
    """The path of the image that the annotation `near` calls `name`; None: there is none."""
    place, base = os.path.split(os.path.normpath(name.replace("\\", "/")))
    known = files.images.get(base, [])
    if len(known) > 1:  # the same name in several folders: first seen from the annotation, then by its end
        beside = os.path.normpath(os.path.join(os.path.dirname(near), place, base))
        ending = os.path.join(os.sep, place, base)
        known = [path for path in known if os.path.normpath(path) == beside] or known
        known = [path for path in known if path.endswith(ending)] if len(known) > 1 else known
        if len(known) != 1:
            raise RunError(f"{near} calls an image {name}, and several have that name; let it say in which folder")
    return known[0] if known else None


def refuse_missing(files: Files, missing: list[str]) -> None:
    """Refuses annotations of images that are not there."""
    if missing:
        some = f"{counted(len(missing), 'image')} not there: {', '.join(missing[:3])}"
        raise RunError(f"the annotations in {files.folder} name {some}; add what is missing, or drop what names it")


def refuse_twice(where: object, what: str, found: Iterable[Any]) -> None:
    """Refuses annotations that say something twice, of which only one can be right."""
    twice = [one for one, count in Counter(found).items() if count > 1]
    if twice:
        raise RunError(f"the annotations in {where} have {what} {twice[0]} twice; leave one of them, or rename it")


def checked_names(path: Path, names: list[str]) -> list[str]:
    """The names of classes, whose numbers are their places."""
    if not names or "" in names:
        raise malformed(str(path), f"class {names.index('')} has no name" if names else "it is empty")
    refuse_twice(path, "the class", names)
    return names


def malformed(path: str, problem: object) -> RunError:
    """What to say of a file that is not as its format wants it."""
    return RunError(f"{path} cannot be read as annotations: {problem}; mend or remove it")
