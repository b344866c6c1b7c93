class TripletLoss(nn.Module):
    """The improved triplet loss of Cheng et al., "Person Re-Identification by Multi-Channel Parts-Based CNN with
    Improved Triplet Loss Function", CVPR 2016: mean(max(d_ap - d_an, t1) + beta * max(d_ap, t2)).

    d_ap and d_an are squared Euclidean distances of the anchor to the positive and to the negative. `t1` is minus the
    margin: above 0 nothing would ever train, so it is refused. The least possible loss is t1 + beta * t2, which is
    below 0 for the usual settings.
    """

    def __init__(self, t1: float = -1.0, t2: float = 0.01, beta: float = 0.002) -> None:
        super().__init__()
        if t1 > 0:
            raise ValueError(f"t1 is minus the margin and cannot be above 0; for a margin of {t1:g} give t1={-t1:g}")
        self.t1, self.t2, self.beta = t1, t2, beta

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Takes three tensors of one shape (n, dimensions) and returns one float32 number."""
        if not anchor.shape == positive.shape == negative.shape:
            raise ValueError(f"shapes differ: {tuple(anchor.shape)}, {tuple(positive.shape)}, {tuple(negative.shape)}")
        anchor, positive, negative = anchor.float(), positive.float(), negative.float()  # half precision overflows
        d_ap = (anchor - positive).square().sum(dim=-1)
        d_an = (anchor - negative).square().sum(dim=-1)
        return (F.relu(d_ap - d_an - self.t1) + self.t1 + self.beta * d_ap.clamp(min=self.t2)).mean()
