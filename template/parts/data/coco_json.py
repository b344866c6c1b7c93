def read_json(path: str) -> Any:
    """What is in a JSON file."""
    try:
        return json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError) as problem:
        raise malformed(path, problem) from None


def is_coco(content: Any) -> bool:
    """Whether it is a dictionary such as COCO's; other JSON may lie beside."""
    return isinstance(content, dict) and {"images", "annotations"} <= content.keys()
