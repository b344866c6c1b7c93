def check_pos_weight(opt: Options, names: list[str]) -> None:
    """Refuses `--pos-weight` unless it has one number, or one for each label."""
    if len(opt.pos_weight) not in (0, 1, len(names)):
        given, count = len(opt.pos_weight), len(names)
        raise RunError(f"--pos-weight has {given} numbers, but there are {count} labels; give one number, or {count}")
