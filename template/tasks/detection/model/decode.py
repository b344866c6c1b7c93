def decode(grid: Tensor, size: int, boxes: int, min_score: float = 0.01, max_overlap: float = 0.5) -> list[Found]:
    """The boxes of each image, best first, at most 100: what a grid (n, g, g, 5 * boxes + classes) says.

    A score is the confidence of a box times that of a class. Of boxes of one class whose IoU is above `max_overlap`
    the best stays (non-maximum suppression).
    """
    images, side = len(grid), grid.shape[1]
    predicted = grid[..., : 5 * boxes].float().reshape(images, side, side, boxes, 5)
    corner = torch.arange(side, device=grid.device)  # of the cells
    x, y = predicted[..., 0] + corner[:, None], predicted[..., 1] + corner[:, None, None]
    center, extent = torch.stack([x, y], dim=-1) / side, predicted[..., 2:4].square()
    corners = torch.cat([center - extent / 2, center + extent / 2], dim=-1).clamp(0, 1) * size
    scores = predicted[..., 4:].clamp(0, 1) * grid[..., None, 5 * boxes :].float().clamp(0, 1)
    found = []
    for box, score in zip(corners.reshape(images, -1, 4), scores.flatten(1, 3), strict=True):
        number, label = (score > min_score).nonzero(as_tuple=True)
        box, score = box[number], score[number, label]
        best = batched_nms(box, score, label, max_overlap)[:100]
        found.append({"boxes": box[best], "scores": score[best], "labels": label[best]})
    return found
