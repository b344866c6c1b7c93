def read_json(path: str) -> Any:
    """What is in a JSON file."""
    try:
        return json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError) as problem:
        raise malformed(path, problem) from None


def is_coco(content: Any) -> bool:
    """Whether it is a dictionary such as COCO's; other JSON may lie beside."""
    return isinstance(content, dict) and {"images", "annotations"} <= content.keys()


def category_names(path: str, content: Any) -> dict[Any, str]:
    """The names of COCO's categories by their ids, of which none, and none of the images, may be there twice."""
    refuse_twice(path, "the image id", [one["id"] for one in content["images"]])
    categories = content.get("categories", [])
    refuse_twice(path, "the category id", [one["id"] for one in categories])
    names = {one["id"]: str("" if one["name"] is None else one["name"]) for one in categories}
    for number, name in names.items():
        if not name.strip():
            raise ValueError(f"category {number} has no name")
    return names
