import pytest
import timm
import torch

from stnlab.errors import StnlabError
from stnlab.models.timm_cnn import timm_cnn


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_100", "convnext_atto", "densenet121"])
def test_the_stages_one_after_another_are_timms_model(name: str):
    backbone = timm_cnn((3, 64, 64), 10, name, pretrained=False, stem="original").eval()
    plain = timm.create_model(name, num_classes=10).eval()
    plain.load_state_dict(dict(zip(plain.state_dict(), backbone.state_dict().values(), strict=True)))
    for module in plain.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.num_batches_tracked == 0  # reading shapes trains nothing
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(backbone(x), plain(x))
    channels = [info["num_chs"] for info in plain.feature_info]
    assert [shape[0] for shape in backbone.shapes[1:-1]] == channels


def test_a_model_that_is_no_chain_of_modules_is_one_stage():
    backbone = timm_cnn((3, 64, 64), 10, "hrnet_w18_small", pretrained=False, stem="original").eval()
    plain = timm.create_model("hrnet_w18_small", num_classes=10).eval()
    plain.load_state_dict(dict(zip(plain.state_dict(), backbone.state_dict().values(), strict=True)))
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(backbone(x), plain(x))
    assert backbone.shapes[1:] == [(2048, 2, 2), (2048,)]


def test_a_small_stem_keeps_the_image_size_and_drops_the_pooling():
    backbone = timm_cnn((1, 28, 28), 10, "resnet18", pretrained=False, stem="small")
    sides = [(64, 28, 28), (64, 28, 28), (128, 14, 14), (256, 7, 7), (512, 4, 4)]
    assert backbone.shapes[1:] == [*sides, (512,)]
    plain = timm.create_model("resnet18", num_classes=10, in_chans=1)
    difference = sum(p.numel() for p in plain.parameters()) - sum(p.numel() for p in backbone.parameters())
    assert difference == 64 * (49 - 9)


def test_an_original_stem_without_stride_keeps_its_pooling():
    backbone = timm_cnn((3, 32, 32), 10, "vgg11", pretrained=False, stem="original")
    assert backbone.shapes[1:3] == [(64, 32, 32), (128, 16, 16)]


def test_all_parameters_learn():
    backbone = timm_cnn((1, 28, 28), 10, "mobilenetv3_small_100", pretrained=False, stem="small")
    backbone(torch.randn(4, 1, 28, 28)).logsumexp(-1).sum().backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())


def test_dropout_is_the_last_thing_before_the_head_in_training_only():
    backbone = timm_cnn((1, 28, 28), 10, "resnet18", pretrained=False, stem="small", dropout=0.7).eval()
    x = torch.randn(1, 1, 28, 28)
    still = backbone(x)
    pooled = backbone.stages[-1].train()(torch.ones(1, 512, 4, 4))
    assert 0.6 < (pooled == 0).float().mean() < 0.8
    torch.testing.assert_close(backbone.eval()(x), still, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("name", "stem", "message"),
    [
        ("resnet_18", "small", "backbone.name=resnet_18: timm has no such model; did you mean resnet18?"),
        ("repvgg_a0", "small", "backbone.stem=small: the stem of repvgg_a0 cannot be changed"),
        ("vgg11", "small", "the first convolution of vgg11 has stride 1 as it is; give backbone.stem=original"),
        ("inception_v3", "original", "cannot take a 1x28x28 image"),
        ("convnext_atto", "original", "give larger images or another model or backbone.stem=small"),
        ("visformer_tiny", "original", "cannot take a 1x28x28 image"),
        ("resmlp_12_224", "original", "backbone.name=resmlp_12_224: its features are no images; choose a CNN"),
        (
            "vit_tiny_patch16_224",
            "small",
            "backbone.name=vit_tiny_patch16_224: its features are no images; choose a CNN",
        ),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(name: str, stem: str, message: str):
    with pytest.raises(StnlabError) as caught:
        timm_cnn((1, 28, 28), 10, name, pretrained=False, stem=stem)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_networks_of_tokens_are_not_suggested():
    with pytest.raises(StnlabError) as caught:
        timm_cnn((1, 28, 28), 10, "vit_tiny_patch16_225", pretrained=False, stem="small")
    assert "vit_" not in str(caught.value).partition("no such model")[2]
    assert "beit" not in str(caught.value)


def test_a_network_of_tokens_is_no_cnn():
    with pytest.raises(StnlabError, match="its features are no images; choose a CNN"):
        timm_cnn((3, 224, 224), 10, "swin_tiny_patch4_window7_224", pretrained=False, stem="original")


def test_weights_out_of_reach_are_one_line(monkeypatch: pytest.MonkeyPatch):
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("cannot find the requested files\nsecond line")

    monkeypatch.setattr("timm.create_model", unreachable)
    with pytest.raises(StnlabError, match=r"backbone.pretrained=true: no weights \(cannot find .* files\); ") as caught:
        timm_cnn((1, 28, 28), 10, "resnet18", pretrained=True, stem="small")
    assert "\n" not in str(caught.value)
