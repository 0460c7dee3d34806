"""Tables kept on disk: mapped by the second process, made again when the files are damaged or cannot be written."""

import numpy as np
import pytest

from transforms.kernels.tables import kept


def make():
    return np.arange(1000, dtype=np.uint16), np.eye(3)


def refuse():
    raise AssertionError("built again")


def test_the_second_call_maps_what_the_first_has_kept(tmp_path):
    """Equal values, mapped and read-only."""
    first = kept("t", make, directory=str(tmp_path / "new"))
    second = kept("t", refuse, directory=str(tmp_path / "new"))
    for one, other, expected in zip(first, second, make(), strict=True):
        assert one.dtype == other.dtype == expected.dtype
        assert np.array_equal(one, expected)
        assert np.array_equal(other, expected)
        assert not one.flags.writeable
        assert not other.flags.writeable
        assert not other.flags.owndata
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["tables-t"]


@pytest.mark.parametrize("damage", ["truncated", "empty", "noise"])
def test_a_damaged_file_is_not_believed(tmp_path, damage):
    """The arrays are built again, whatever stands on disk."""
    kept("t", make, directory=str(tmp_path))
    file = tmp_path / "tables-t" / "0.npy"
    content = file.read_bytes()
    file.write_bytes({"truncated": content[:-1], "empty": b"", "noise": b"\x93NUMPY" + bytes(200)}[damage])
    assert np.array_equal(kept("t", make, directory=str(tmp_path))[0], make()[0])
    assert np.array_equal(kept("t", refuse, directory=str(tmp_path))[0], make()[0])


def test_without_a_place_the_arrays_are_built(tmp_path):
    """Where no directory can be made."""
    (tmp_path / "file").touch()
    assert np.array_equal(kept("t", make, directory=str(tmp_path / "file"))[1], np.eye(3))
