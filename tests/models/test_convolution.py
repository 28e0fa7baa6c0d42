import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state

from stnlab.models.backbones import cnn
from stnlab.models.convolution import Conv2d, input_gradient


@pytest.mark.parametrize(
    ("channels", "kernel", "padding"),
    [(1, 9, 0), (1, 5, 2), (3, 3, "valid"), (2, (3, 5), (0, 3)), (1, 4, (3, 0)), (4, 1, 0)],
)
def test_equals_torchs_convolution_in_values_and_gradients(channels, kernel, padding):
    ours = Conv2d(channels, 6, kernel, padding=padding).double()
    theirs = nn.Conv2d(channels, 6, kernel, padding=padding).double()
    theirs.load_state_dict(ours.state_dict())
    image = torch.rand(3, channels, 9, 11, dtype=torch.float64, requires_grad=True)
    found, expected = ours(image), theirs(image)
    assert "WithInputGradient" in found.grad_fn.name()
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    upstream = torch.rand_like(found)
    gradients = [
        torch.autograd.grad(output, (image, *module.parameters()), upstream)
        for output, module in ((found, ours), (expected, theirs))
    ]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", [{"stride": 2}, {"dilation": 2}, {"padding": "same"}, {"padding": 3}])
def test_what_it_does_not_speed_up_is_torchs_own(options):
    image = torch.rand(2, 1, 9, 9, requires_grad=True)
    ours = Conv2d(1, 3, 3, **options)
    assert "Convolution" in ours(image).grad_fn.name()
    many = torch.rand(2, 8, 9, 9, requires_grad=True)
    assert "Convolution" in Conv2d(8, 3, 3)(many).grad_fn.name()
    assert "Convolution" in Conv2d(1, 3, 3)(image.detach()).grad_fn.name()


def test_gradients_of_gradients_and_half_precision_work():
    image = torch.rand(1, 1, 5, 5, dtype=torch.float64, requires_grad=True)
    layer = Conv2d(1, 2, 3, padding=1).double()
    assert torch.autograd.gradgradcheck(lambda x: layer(x).square(), (image,))
    single = image.detach().float().requires_grad_()
    layer = layer.float()
    (expected,) = torch.autograd.grad(layer(single).sum(), single)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = layer(single)
    (found,) = torch.autograd.grad(output.float().sum(), single)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)


def test_networks_stacked_by_torch_func_have_their_own_gradients():
    alone = [Conv2d(1, 2, 3, padding=1).double() for _ in range(3)]
    images = torch.rand(3, 4, 1, 5, 5, dtype=torch.float64, requires_grad=True)
    weights, state = stack_module_state(alone)
    outputs = torch.vmap(lambda own, none, image: functional_call(alone[0], (own, none), (image,)))(
        weights, state, images
    )
    found = torch.autograd.grad(outputs.square().sum(), (images, weights["weight"]))
    expected = torch.stack([layer(image) for layer, image in zip(alone, images, strict=True)]).square().sum()
    in_images, *in_weights = torch.autograd.grad(expected, (images, *(layer.weight for layer in alone)))
    torch.testing.assert_close(found, (in_images, torch.stack(in_weights)), rtol=0, atol=1e-12)


def test_its_gradient_is_a_shifted_sum_of_the_kernels_columns():
    weight = torch.arange(1.0, 7).reshape(1, 1, 2, 3)
    upstream = torch.zeros(1, 1, 3, 2)
    upstream[0, 0, 1, 1] = 1
    found = input_gradient(upstream, weight, (0, 0))
    expected = torch.zeros(1, 1, 4, 4)
    expected[0, 0, 1:3, 1:4] = weight[0, 0]
    assert found.equal(expected)


def test_pooling_before_the_relu_changes_neither_values_nor_gradients():
    stage = cnn((1, 12, 12), 3, [4], [3]).stages[0]
    convolution, pooling, relu = stage
    image = torch.randn(5, 1, 12, 12)
    gradients = []
    for modules in ((convolution, pooling, relu), (convolution, relu, pooling)):
        output = nn.Sequential(*modules)(image)
        gradients.append((output, *torch.autograd.grad(output.square().sum(), tuple(convolution.parameters()))))
    torch.testing.assert_close(*gradients, rtol=0, atol=0)
