"""The spatial transformer: localise, make maps, sample through them (Jaderberg et al. 2015)."""

from torch import Tensor, nn

from stnlab.geometry.maps import AffineMap, PointMap
from stnlab.geometry.sampling import Sampler
from stnlab.geometry.transforms import Transform

Size = tuple[int, int]


class SpatialTransformer(nn.Module):
    """Warps what it gets by a map that it regresses from it; by `views` maps, if it is several that share a localizer.

    features: stages between what is warped and what is localised on (none: the same). localizer: those features to
    theta [N, views * transform.parameters]; None for a transform without parameters. background: [C], what lies outside
    the input; None: zero. size: (height, width) of a view, None for that of the input. windows: [views, 2, 3], the
    affine maps that the views start from, None for the whole input.
    """

    background: Tensor | None
    windows: Tensor | None

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
        views: int = 1,
        windows: Tensor | None = None,
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
        self.views = views
        self.register_buffer("background", background, persistent=False)
        self.register_buffer("windows", windows, persistent=False)

    def forward(self, x: Tensor) -> list[tuple[Tensor, PointMap]]:
        """Each view [N, C, height, width] of x [N, C, H, W], with the map from its points to those of x."""
        height, width = x.shape[2:]
        made = []
        for number, residual in enumerate(self._localize(x)):
            warp = residual
            if self.windows is not None:
                warp = AffineMap(self.windows[number].expand(len(x), 2, 3)) @ residual
            for _ in range(self.iterations - 1):
                view = self.sampler(x, warp, (height, width), self.background)
                warp = warp @ self._localize(view)[number]
            made.append((self.sampler(x, warp, self.size or (height, width), self.background), warp))
        return made

    def _localize(self, view: Tensor) -> list[PointMap]:
        """For each of the views the map that its theta says."""
        aspect = view.shape[3] / view.shape[2]
        if self.localizer is None:
            return [self.transform(view.new_zeros(len(view), 0), aspect)] * self.views
        features = view
        for stage in (*self.own_features, *self._shared_features):
            features = stage(features)
        theta: Tensor = self.localizer(features)
        return [self.transform(own, aspect) for own in theta.chunk(self.views, dim=1)]
