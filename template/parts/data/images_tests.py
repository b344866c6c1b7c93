@pytest.mark.quick
def test_memory_changes_nothing(opt: Options) -> None:
    kept, read = epoch_of(opt, 0), epoch_of(replace(opt, cache_mb=0), 0)

    assert all(same(one, two) and n == m for (one, n), (two, m) in zip(kept, read, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
def test_a_random_transform_repeats_and_moves_no_other_randomness(
    opt: Options, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = MyDataset.__getitem__

    def jittered(self: MyDataset, number: int) -> tuple[Tensor, Tensor]:
        image, label = original(self, number)
        return image + torch.randint(0, 9, ()).to(torch.uint8), label

    monkeypatch.setattr(MyDataset, "__getitem__", jittered)
    plain = replace(opt, num_workers=0)
    torch.manual_seed(1)
    before = torch.get_rng_state()

    whole, rest = epoch_of(plain, 1), epoch_of(replace(opt, num_workers=workers), 1, batch=1)

    assert all(same(one, two) for (one, _), (two, _) in zip(whole[-len(rest) :], rest, strict=True))
    assert epoch_of(plain, 0)[0][0][0].sum() != epoch_of(plain, 1)[0][0][0].sum()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.quick
def test_augmentation_moves_images_a_little(opt: Options) -> None:
    images = torch.randint(0, 255, (4, 3, 8, 8), dtype=torch.uint8)

    still = augment(images, torch.full((4, 5), 0.5), opt)
    moved = augment(images, torch.rand(4, 5), opt)

    assert torch.allclose(still, normalise(images), atol=1e-4)
    assert still.shape == moved.shape
    assert not torch.allclose(still, moved)
