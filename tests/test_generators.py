"""A saved generator makes what it made, in the units of the data, wherever it is loaded; or says why not."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from gan_helpers import architectures, generators
from gan_helpers.checkpoint_files import packed, read
from gan_helpers.data import Normal, StandardNormal, Uniform, ring
from gan_helpers.ensemble import Ensemble
from gan_helpers.files import write_whole
from gan_helpers.generators import Generators, load
from gan_helpers.models import Maxout, Standardise, mlp
from gan_helpers.randomness import Stream
from gan_helpers.states import CheckpointError
from gan_helpers.units import Category, Number, Shares, Units

MIXED = Units(
    (
        Number("age", 40.0, 12.5, whole=True, low=0.0),
        Category("sex", ("f", "m", "x")),
        Number("bmi", 26.0, 4.0),
    ),
    table=True,
)


def of(member, seeds=3, noise=None, units=None, **options) -> Generators:
    G = Ensemble(member, seeds, name="G", seed=1, device="cpu", **options)
    return Generators(G, noise or StandardNormal(2), units, {"rows": "12"})


class Own(nn.Module):
    """A network of a reader: it has the printed form of another that computes something else."""

    def __init__(self, sign: float = 1.0) -> None:
        super().__init__()
        self.linear, self.sign = nn.Linear(2, 3), sign

    def forward(self, z: Tensor) -> Tensor:
        return self.sign * self.linear(z)


LAYERS = {
    "mlp": lambda: mlp(2, 5, 3, activation=lambda: nn.LeakyReLU(0.3)),
    "in turn": lambda: nn.Sequential(nn.Linear(2, 3), nn.Softmax(-1)),
    "normalised": lambda: nn.Sequential(nn.Linear(2, 4, bias=False), nn.BatchNorm1d(4, eps=0.1), nn.ELU(2.0)),
    "layer norm": lambda: nn.Sequential(nn.Linear(2, 4), nn.LayerNorm(4, bias=False), nn.GELU("tanh")),
    "images": lambda: nn.Sequential(
        nn.Linear(2, 8), nn.Unflatten(-1, (2, 2, 2)), nn.ConvTranspose2d(2, 4, 4, stride=2, padding=1),
        nn.GroupNorm(2, 4), nn.Upsample(scale_factor=2.0),
        nn.Conv2d(4, 1, 3, padding=1, bias=False), nn.Tanh(),
    ),
    "maxout": lambda: nn.Sequential(Standardise(1.0, 2.0), Maxout(2, 4, 3), nn.Dropout(0.4)),
    "shares": lambda: nn.Sequential(mlp(2, 4, 5), Shares((1, 3, 1))),
}  # fmt: skip


# Saved and loaded


@pytest.mark.parametrize("name", LAYERS)
def test_a_loaded_generator_is_the_saved_one_in_another_process_too(name: str, tmp_path: Path) -> None:
    saved = of(LAYERS[name], stacked=name != "in turn")
    for weight in saved.network.parameters():
        weight.data.add_(0.1)
    path = saved.save(tmp_path / "G.safetensors")
    loaded = load(path, device="cpu")
    z = Stream("z", 3).normal(3, 7, 2)
    assert torch.equal(saved.made(z), loaded.made(z))
    assert loaded.network.is_stacked == (name != "in turn")
    assert (loaded.noise, loaded.units, loaded.origin) == (saved.noise, None, {"rows": "12"})


BARE = """
import pickle, sys
from importlib.abc import MetaPathFinder
from pathlib import Path

needed = {"torch", "numpy", "safetensors", "tqdm", "gan_helpers"}
of_torch = {"torchgen", "functorch", "typing_extensions", "sympy", "mpmath", "networkx", "jinja2"}
of_torch |= {"markupsafe", "filelock", "fsspec"}

class Bare(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in needed | of_torch and top not in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Bare())
from gan_helpers import Stream
from gan_helpers.generators import load

found = {}
for file in Path().glob("*.safetensors"):
    G = load(file)
    found[file.stem] = G.samples(9, Stream("new", 1)).numpy(), G.sample(9, Stream("new", 1))
Path("found").write_bytes(pickle.dumps(found))
"""


def test_a_file_and_four_packages_are_enough_in_another_environment(tmp_path: Path) -> None:
    pixels = Units((Number("pixels", 127.5, 127.5, whole=True, low=0.0, high=255.0, width=64),), (8, 8))
    saved = {
        "table": of(LAYERS["shares"], units=MIXED),
        "images": of(LAYERS["images"], units=pixels),
        "in turn": of(LAYERS["in turn"], stacked=False),
    }
    there, package = tmp_path / "there", Path(generators.__file__).parent
    shutil.copytree(package, tmp_path / "site" / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    there.mkdir()
    for name, G in saved.items():
        G.save(there / f"{name}.safetensors")
    own = {"PYTHONPATH": str(tmp_path / "site"), "GAN_BOOK_DEVICE": "cpu", "GAN_BOOK_SEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", BARE], cwd=there, env=os.environ | own, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = pickle.loads((there / "found").read_bytes())
    for name, G in saved.items():
        samples, rows = found[name]
        assert np.array_equal(samples, G.samples(9, Stream("new", 1)).numpy())
        expected = G.sample(9, Stream("new", 1))
        for key in expected if name == "table" else [...]:
            assert np.array_equal(rows[key], expected[key])


@pytest.mark.parametrize("noise", [Normal(1.0, 2.0), Uniform(-1.0, 1.0, 1)])
def test_the_noise_and_the_units_come_along(noise, tmp_path: Path) -> None:
    units = Units((Number("x", 4.0, 1.25, high=7.5, width=3),), (3,))
    loaded = load(of(lambda: mlp(1, 3), noise=noise, units=units).save(tmp_path / "G"), device="cpu")
    assert (loaded.noise, loaded.units) == (noise, units)
    assert load(of(lambda: mlp(2, 5), units=MIXED).save(tmp_path / "G"), device="cpu").units == MIXED


def test_the_training_mode_of_the_network_stays_as_it_was(tmp_path: Path) -> None:
    saved = of(LAYERS["maxout"])
    assert saved.network.training
    saved.save(tmp_path / "G")
    assert saved.network.training and not load(tmp_path / "G").network.training


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no accelerator here")
def test_generators_of_an_accelerator_are_loaded_without_it(tmp_path: Path) -> None:
    G = Ensemble(lambda: mlp(2, 9, 3), 2, device="cuda")
    path = Generators(G, StandardNormal(2)).save(tmp_path / "G")
    assert all(value.device.type == "cpu" for value in read(path, generators.FORMAT)[1].values())
    assert next(load(path, device="cpu").network.parameters()).device.type == "cpu"


def test_networks_of_ones_own_need_their_code_and_it_has_to_be_the_same_code(tmp_path: Path) -> None:
    saved = of(Own)
    path = saved.save(tmp_path / "G")
    with pytest.raises(CheckpointError, match=r"cannot describe.*load\(path, member=\.\.\.\).*Own"):
        load(path)
    z = Stream("z", 3).normal(3, 7, 2)
    assert torch.equal(load(path, Own, "cpu").made(z), saved.made(z))
    with pytest.raises(CheckpointError, match="member makes another network"):
        load(path, lambda: mlp(2, 3))
    with pytest.raises(CheckpointError, match="do not make what they made"):
        load(path, lambda: Own(-1.0))


def test_a_hook_or_a_computed_weight_is_not_forgotten(tmp_path: Path) -> None:
    made = nn.Sequential(spectral_norm(nn.Linear(2, 3)))
    with pytest.raises(TypeError, match="no description"):
        architectures.described(made)
    posing = type("Linear", (nn.Linear,), {"forward": lambda self, x: x})
    with pytest.raises(TypeError, match="a layer Linear, which has no description"):
        architectures.described(posing(2, 3))
    hooked = mlp(2, 3)
    hooked[0].register_forward_hook(lambda *_: None)
    with pytest.raises(TypeError, match="such as a hook"):
        architectures.described(hooked)

    def member() -> nn.Module:
        return nn.Sequential(spectral_norm(nn.Linear(2, 3)), nn.Tanh())

    saved = of(member)
    z = Stream("z", 3).normal(3, 7, 2)
    assert torch.allclose(load(saved.save(tmp_path / "G"), member, "cpu").made(z), saved.made(z))


def test_every_layer_of_the_list_is_described_and_built() -> None:
    made = {
        "AdaptiveAvgPool2d": (2,), "AvgPool2d": (2,), "BatchNorm1d": (3,), "BatchNorm2d": (3,),
        "Conv2d": (1, 2, 3), "ConvTranspose2d": (1, 2, 3), "Dropout": (0.1,), "Embedding": (4, 3),
        "GroupNorm": (2, 4), "LayerNorm": (3,), "Linear": (2, 3), "MaxPool2d": (2,), "Maxout": (2, 3, 4),
        "MinibatchDiscrimination": (2, 3, 4), "PixelShuffle": (2,), "Shares": ((2, 1),), "Softmax": (-1,),
        "Standardise": (1.0, 2.0), "Unflatten": (-1, (1, 2)),
    }  # fmt: skip
    for name, kind in architectures.LAYERS.items():
        layer = kind(*made.get(name, ()))
        text = architectures.described(nn.Sequential(layer))
        again = architectures.built(text)
        assert str(again[0]) == str(layer) and architectures.described(again) == text


def test_what_a_text_describes_takes_no_memory_before_its_weights_are_there() -> None:
    made = architectures.built(architectures.described(mlp(2, 3)))
    assert all(weight.is_meta for weight in made.parameters())


# What is refused


def altered(path: Path, **told: str) -> Path:
    """Write a file again with other words, and with the digest that it then has."""
    found, tensors = read(path, generators.FORMAT)
    write_whole(path, packed(tensors, found | told, generators.FORMAT))
    return path


@pytest.mark.parametrize(
    "layers",
    [
        '{"Sequential": [{"Linear": {"in_features": 1000000000, "out_features": 1000000000, "bias": true}}]}',
        '{"Sequential": [{"eval": {"source": "1"}}]}', '{"Module": {}}', "[" * 100_000, "{}", '"Linear"',
        '{"Linear": {"in_features": 2, "out_features": 3, "bias": true, "device": "meta", "other": 1}}',
    ],
    ids=range(7),
)  # fmt: skip
def test_a_hostile_description_builds_nothing(layers: str, tmp_path: Path) -> None:
    path = of(lambda: mlp(2, 3)).save(tmp_path / "G")
    with pytest.raises(CheckpointError, match="G does not hold generators that can be built"):
        load(altered(path, layers=layers))


def test_files_of_another_kind_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    path = of(lambda: mlp(2, 3)).save(tmp_path / "G")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="damaged"):
        load(path)
    write_whole(path, packed({"G/0.weight": torch.zeros(1)}, {}))
    with pytest.raises(CheckpointError, match=r"another kind, gan_helpers checkpoint, version 1"):
        load(path)
    write_whole(path, packed({"G/0.weight": torch.zeros(1)}, {}, "gan_helpers generators, version 9"))
    with pytest.raises(CheckpointError, match="another version"):
        load(path)
    with pytest.raises(CheckpointError, match="could not be read"):
        load(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="could not be written"):
        of(lambda: mlp(2, 3)).save(tmp_path / "no" / "folder")


def test_other_weights_are_noticed(tmp_path: Path) -> None:
    path = of(lambda: mlp(2, 3)).save(tmp_path / "G")
    told, tensors = read(path, generators.FORMAT)
    for name in ("G/0.weight", "tried/x"):
        write_whole(path, packed(tensors | {name: tensors[name] + 0.5}, told, generators.FORMAT))
        with pytest.raises(CheckpointError, match="do not make what they made"):
            load(path)
    write_whole(path, packed(tensors | {"G/0.bias": tensors["G/0.bias"][:2]}, told, generators.FORMAT))
    with pytest.raises(CheckpointError, match="as many members"):
        load(path)


def test_what_cannot_be_saved_is_refused_at_once() -> None:
    G = Ensemble(lambda: mlp(2, 3), 2, device="cpu")
    with pytest.raises(TypeError, match="noise must be one of Normal, .*, not GaussianMixture"):
        Generators(G, ring())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="network must be of type Ensemble"):
        Generators(G.member(0), StandardNormal(2))  # type: ignore[arg-type]


# Sampled


def test_samples_of_a_member_are_its_own_and_all_members_take_part_unless_one_is_named() -> None:
    G = of(lambda: mlp(2, 1))
    for k in range(3):
        for weight in G.network.parameters():
            weight.data[k] = 0
        G.network.state_dict()["network.0.bias"][k] = float(k)
    assert G.sample(5, Stream("new", 1), 2).flatten().tolist() == [2.0] * 5
    found = G.sample(3_000, Stream("new", 1)).flatten().long()
    assert (torch.bincount(found, minlength=3) - 1_000).abs().max() < 150
    assert torch.equal(found, G.sample(3_000, Stream("new", 1)).flatten().long())
    assert G.only([2, 1]).sample(4, Stream("new", 1), 0).flatten().tolist() == [2.0] * 4
    with pytest.raises(ValueError, match="member must be at most 2, not 3"):
        G.sample(5, Stream("new", 1), 3)


def test_samples_are_in_the_units_of_the_data() -> None:
    G = of(lambda: nn.Sequential(mlp(2, 8, 5), Shares(MIXED.sizes)), units=MIXED)
    rows = G.sample(2_500, Stream("new", 1))
    assert list(rows) == ["age", "sex", "bmi"] and all(len(column) == 2_500 for column in rows.values())
    assert rows["age"].dtype == np.int64 and rows["age"].min() >= 0 and set(rows["sex"]) <= {"f", "m", "x"}
    images = Units((Number("pixels", 127.5, 127.5, whole=True, low=0.0, high=255.0, width=6),), (2, 3))
    shown = of(lambda: mlp(2, 6), units=images).sample(4, Stream("new", 1))
    assert shown.shape == (4, 2, 3) and shown.min() >= 0 and shown.max() <= 255


def test_a_member_is_a_plain_network() -> None:
    G = of(lambda: mlp(2, 4, 3))
    z = Stream("z", 1).normal(3, 5, 2)
    alone = G.member(1)
    assert type(alone) is nn.Sequential and not any(w.requires_grad for w in alone.parameters())
    assert torch.allclose(alone(z[1]), G.made(z)[1], atol=1e-6)


@pytest.mark.skipif(not (find_spec("onnxruntime") and find_spec("onnxscript")), reason="no onnx here")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["mixed", "images"])
def test_an_exported_member_makes_the_same_elsewhere(name: str, tmp_path: Path) -> None:
    import onnxruntime

    if name == "mixed":
        G = of(lambda: nn.Sequential(mlp(2, 8, 5), Shares(MIXED.sizes)), units=MIXED)
    else:
        units = Units((Number("pixels", 127.5, 127.5, whole=True, low=0.0, high=255.0, width=64),), (8, 8))
        G = of(LAYERS["images"], units=units)
    path = G.export(tmp_path / "G.onnx", 1)
    z = Stream("z", 1).normal(9, 2)
    (found,) = onnxruntime.InferenceSession(str(path)).run(None, {"z": z.numpy()})
    expected = G.units.numbers(G.member(1)(z).flatten(1))
    # A number may lie so near to a half that another order of sums rounds it to the other side.
    assert (np.abs(found - expected.numpy()) > 1e-3).mean() < 0.02 and np.isfinite(found).all()


@pytest.mark.skipif(find_spec("onnxscript") is not None, reason="onnx is here")
def test_without_the_packages_for_onnx_it_says_which_are_missing(tmp_path: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match="pip install onnx onnxscript"):
        of(lambda: mlp(2, 3)).export(tmp_path / "G.onnx")


# Units


def test_rows_come_back_from_their_numbers() -> None:
    columns = [np.array([31, 52]), np.array(["x", "f"]), np.array([20.5, 31.25])]
    x = MIXED.encode(columns)
    assert x.tolist() == [[pytest.approx(-0.72), 0, 0, 1, -1.375], [pytest.approx(0.96), 1, 0, 0, 1.3125]]
    back = MIXED.decode(x)
    assert [list(back[name]) for name in back] == [list(column) for column in columns]
    assert MIXED.numbers(x).tolist() == [[31, 2, 20.5], [52, 0, 31.25]]
    assert torch.allclose(MIXED.rounded(x + 0.01), MIXED.encode(columns) + torch.tensor([0, 0, 0, 0, 0.01]))
    doubtful = torch.tensor([[0.0, 0.4, 0.3, 0.3, 0.0]])
    assert MIXED.rounded(doubtful).tolist() == [[0.0, 1.0, 0.0, 0.0, 0.0]]
    assert Units.of(MIXED.text()) == MIXED and json.loads(MIXED.text())
    assert MIXED.sizes == (1, 3, 1) and MIXED.features == 5


@pytest.mark.parametrize("levels", [("a", "b"), (False, True), (1, 3), (1, "b")])
def test_levels_keep_their_type(levels) -> None:
    category = Category("c", levels)
    found = category.decoded(np.array([[1.0], [0.0]]))
    assert found.tolist() == [levels[1], levels[0]]
    assert [type(v) for v in found.tolist()] == [type(levels[1]), type(levels[0])]


def test_values_that_are_no_levels_are_named() -> None:
    with pytest.raises(ValueError, match=r"sex holds 'q', which is none of its levels \('f', 'm', 'x'\)"):
        MIXED.columns[1].encoded(np.array(["f", "q"]))
    with pytest.raises(ValueError, match="levels of sex must be two or more"):
        Category("sex", ("f",))
    with pytest.raises(ValueError, match=r"x must have 5 features, not \(2, 4\)"):
        MIXED.decode(torch.zeros(2, 4))


def test_shares_are_those_of_the_parts() -> None:
    x = Stream("x", 1).normal(2, 4, 6)
    found = Shares((1, 3, 1, 1))(x)
    assert torch.equal(found[..., [0, 4, 5]], x[..., [0, 4, 5]])
    assert torch.allclose(found[..., 1:4], x[..., 1:4].softmax(-1))
