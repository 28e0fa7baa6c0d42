"""The spatial transformer: localise, make a map, sample through it (Jaderberg et al. 2015)."""

from torch import Tensor, nn

from stnlab.geometry.maps import PointMap
from stnlab.geometry.sampling import Sampler
from stnlab.geometry.transforms import Transform

Size = tuple[int, int]


class SpatialTransformer(nn.Module):
    """Warps what it gets by a map that it regresses from it.

    features: stages between what is warped and what is localised on (none: the same). localizer: those features to
    theta [N, transform.parameters]; None for a transform without parameters. background: [C], what lies outside the
    input; None: zero. size: (height, width) of the view, None for that of the input.
    """

    background: Tensor | None

    def __init__(
        self,
        features: list[nn.Module],
        own_features: bool,
        localizer: nn.Module | None,
        transform: Transform,
        background: Tensor | None,
        sampler: Sampler,
        iterations: int = 1,
        size: Size | None = None,
    ) -> None:
        super().__init__()
        # In a tuple the stages stay the classifier's: registered once, trained at its learning rate.
        self.own_features = nn.ModuleList(features if own_features else [])
        self._shared_features = () if own_features else tuple(features)
        self.localizer = localizer
        self.transform = transform
        self.sampler = sampler
        self.iterations = iterations
        self.size = size
        self.register_buffer("background", background, persistent=False)

    def forward(self, x: Tensor) -> tuple[Tensor, PointMap]:
        """View [N, C, height, width] of x [N, C, H, W], and the map from its points to those of x."""
        height, width = x.shape[2:]
        warp = self._localize(x)
        for _ in range(self.iterations - 1):
            warp = warp @ self._localize(self.sampler(x, warp, (height, width), self.background))
        return self.sampler(x, warp, self.size or (height, width), self.background), warp

    def _localize(self, view: Tensor) -> PointMap:
        aspect = view.shape[3] / view.shape[2]
        if self.localizer is None:
            return self.transform(view.new_zeros(len(view), 0), aspect)
        features = view
        for stage in (*self.own_features, *self._shared_features):
            features = stage(features)
        return self.transform(self.localizer(features), aspect)
