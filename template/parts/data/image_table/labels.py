MARKS = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}


def read_table(folder: Path, opt: Options, known: list[str] | None = None) -> tuple[list[str], list[str], Tensor, str]:
    """The paths of the images of `folder` in its table, the names of the labels, which of them each image has (n,
    labels), and what to say of a divided train. The `known` labels are those of the images to train on.

    A table has a column for each label, in which is 0 or 1, or one column in which labels are listed.
    """
    path, header, lines, divided = table_of(folder, opt)
    columns = [*opt.targets] or [name for name in header if name not in (opt.image_column, "split")]
    if not columns:
        raise RunError(f"{path} has no labels; its first line is image,NAME,NAME, or image,labels")
    check_columns(path, header, columns, "--targets")
    marked = {*columns} & {*known} if known else all(row[columns[0]].lower() in (*MARKS, "") for _, row in lines)
    listed = len(columns) == 1 and not marked
    found = listed_labels(path, columns[0], lines, opt) if listed else marked_labels(path, columns, lines)
    names = known or (sorted({*chain(*found)}) if listed else columns)
    if known and not listed:
        check_columns(path, header, known, "--targets")
    if unknown := sorted({*chain(*found)} - {*names}):
        raise RunError(f"{path} has the label {unknown[0]!r}, which train lacks; add it there or remove it")
    if not known and not any(found):
        raise RunError(f"{path} has no image with a label; there is nothing to learn")
    paths = [image_path(path, row[opt.image_column]) for _, row in lines]
    by_path: dict[str, set[str]] = {}
    for (number, _), image, some in zip(lines, paths, found, strict=True):
        if by_path.setdefault(image, some) != some:
            raise RunError(f"line {number} of {path} names {image} again, with other labels; one line has all of them")
    check_images(path, paths, divided)
    labels = torch.tensor([[float(name in some) for name in names] for some in found])
    if not divided:
        return paths, names, labels, ""
    chosen = held_out(rarest(labels), folder, opt)
    return [paths[number] for number in chosen], names, labels[chosen], NOTES[folder.name]


def listed_labels(path: Path, column: str, lines: list[tuple[int, dict[str, str]]], opt: Options) -> list[set[str]]:
    """The labels of each line that has a list of them in this column."""
    cells = [row[column].strip() for _, row in lines]
    for (number, _), cell in zip(lines, cells, strict=True):
        if cell[:1] + cell[-1:] in ("[]", "{}", "()"):
            raise RunError(f"line {number} of {path} has the list {cell} as programs print it; write labels as cat;dog")
    separator = opt.separator or ";"
    others = [sign for sign in "|, " if any(sign in cell for cell in cells)]
    if not opt.separator and others and not any(separator in cell for cell in cells):
        raise RunError(
            f"{column} in {path} has {others[0]!r} in its labels, and no ';'; type --separator {others[0]!r} if that "
            "separates them, or --separator ';' if it belongs to their names"
        )
    return [{name.strip() for name in cell.split(separator)} - {""} for cell in cells]


def marked_labels(path: Path, columns: list[str], lines: list[tuple[int, dict[str, str]]]) -> list[set[str]]:
    """The labels of each line that has 0 or 1 in the column of each."""
    for number, row in lines:
        for name in columns:
            if row[name].lower() not in MARKS:
                said = f"line {number} of {path} has {row[name]!r} in the column {name}, which is neither 0 nor 1"
                raise RunError(f"{said}; say by --targets which columns are labels, or which one lists them")
    return [{name for name in columns if MARKS[row[name].lower()]} for _, row in lines]
