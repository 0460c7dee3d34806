"""transforms.word_lists: one entry a line."""

import pytest

from transforms.word_lists import read_list


def test_lines_without_comments(tmp_path):
    """White space around entries, empty lines and comments are no entries; a byte order mark is none either."""
    path = tmp_path / "list"
    path.write_bytes("\ufeffone\r\n\n  two words \n# three\n#four\n".encode())
    assert read_list(str(path)) == ["one", "two words"]
    with pytest.raises(FileNotFoundError):
        read_list(str(tmp_path / "nowhere"))
