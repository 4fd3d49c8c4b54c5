import pytest

import meddistill.methods
from meddistill.errors import ConfigError
from meddistill.methods import METHODS, Distillation, Method, create_method


@pytest.mark.parametrize("name", METHODS)
def test_every_registered_method_can_be_built_by_name(name):
    method = create_method(name)
    assert isinstance(method, Method)
    assert type(method).__name__ in meddistill.methods.__all__


def test_options_reach_the_method():
    method = create_method("distillation", temperature=2.0, alpha=0.5)
    assert isinstance(method, Distillation)
    assert (method.temperature, method.alpha) == (2.0, 0.5)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("pased", {}, "unknown method 'pased'; did you mean 'paced'?"),
        ("distillation", {"temprature": 2.0}, "did you mean 'temperature'?"),
        ("supervised", {"temperature": 2.0}, "unknown option of method supervised 'temperature'"),
        ("paced", {"mode": "tlp"}, "unknown mode 'tlp'; did you mean 'tpl'?"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(name, options, message):
    with pytest.raises(ConfigError) as error:
        create_method(name, **options)
    assert message.rstrip("?") in str(error.value)
    assert "\n" not in str(error.value)
