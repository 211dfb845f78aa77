import io
import struct
import threading
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageFile
from vlp_pipeline.images import ImageLimits, decode_image
from vlp_spec.errors import InvalidImageError, TooLargeError

Save = Callable[..., bytes]
LOSSLESS = ("PNG", "BMP", "TIFF", "GIF", "WEBP")


def save_lossless(picture: Image.Image, container: str, save: Save) -> bytes:
    return save(picture, container, **({"lossless": True, "exact": True} if container == "WEBP" else {}))


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")


def jpeg_header(width: int, height: int, small: bytes) -> bytes:
    """`small` with another size in its frame header (SOF0)."""
    place = small.index(b"\xff\xc0") + 5
    return small[:place] + struct.pack(">HH", height, width) + small[place + 4 :]


@pytest.mark.parametrize("container", LOSSLESS)
def test_decodes_each_lossless_container_exactly(container: str, picture: Image.Image, save_picture: Save) -> None:
    colours = Image.new("RGB", (5, 3), (10, 200, 30)) if container == "GIF" else picture
    pixels = decode_image(save_lossless(colours, container, save_picture))
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, np.asarray(colours))


def test_decodes_jpeg_as_pillow_does(picture: Image.Image, save_picture: Save) -> None:
    data = save_picture(picture, "JPEG", quality=90)
    np.testing.assert_array_equal(decode_image(data), np.asarray(Image.open(io.BytesIO(data))))


def test_the_pixels_belong_to_the_caller(picture: Image.Image, save_picture: Save) -> None:
    pixels = decode_image(save_picture(picture, "PNG"))
    pixels[:] = 0
    assert not pixels.any()


@pytest.mark.parametrize("container", [*LOSSLESS, "JPEG"])
def test_one_pixel_is_a_picture(container: str, save_picture: Save) -> None:
    assert decode_image(save_picture(Image.new("RGB", (1, 1), (9, 9, 9)), container)).shape == (1, 1, 3)


def test_no_bytes() -> None:
    with pytest.raises(InvalidImageError, match="0 bytes"):
        decode_image(b"")


@pytest.mark.parametrize("data", [b"x", b"hello, I am no picture", b"%PDF-1.7\n", b"\x00" * 100, b"<svg></svg>"])
def test_not_a_picture(data: bytes) -> None:
    with pytest.raises(InvalidImageError, match="JPEG, PNG, WebP, GIF, BMP, TIFF"):
        decode_image(data)


@pytest.mark.parametrize("container", ["ICO", "PPM", "TGA", "PCX"])
def test_other_containers_that_pillow_knows_are_refused(container: str, save_picture: Save) -> None:
    with pytest.raises(InvalidImageError):
        decode_image(save_picture(Image.new("RGB", (16, 16)), container))


def test_file_over_the_byte_limit(picture: Image.Image, save_picture: Save) -> None:
    data = save_picture(picture, "PNG")
    assert decode_image(data, ImageLimits(max_bytes=len(data))).shape == (10, 14, 3)
    with pytest.raises(TooLargeError, match=f"{len(data)} bytes, at most {len(data) - 1}"):
        decode_image(data, ImageLimits(max_bytes=len(data) - 1))


@pytest.mark.parametrize("container", [*LOSSLESS, "JPEG"])
def test_limits_of_pixels_and_sides(container: str, picture: Image.Image, save_picture: Save) -> None:
    data = save_picture(picture, container)
    assert decode_image(data, ImageLimits(max_pixels=140, max_side=14)).shape == (10, 14, 3)
    with pytest.raises(TooLargeError, match="14x10 pixels"):
        decode_image(data, ImageLimits(max_pixels=139))
    with pytest.raises(TooLargeError, match="14x10 pixels"):
        decode_image(data, ImageLimits(max_side=13))


def huge_headers(save: Save) -> dict[str, bytes]:
    """Files of a few hundred bytes whose header says 20000x20000, or the most that the format can say."""
    small = Image.new("RGB", (8, 8))
    bmp, gif = bytearray(save(small, "BMP")), bytearray(save(small, "GIF"))
    struct.pack_into("<ii", bmp, 18, 20_000, 20_000)
    struct.pack_into("<HH", gif, 6, 20_000, 20_000)
    frame = bytearray(save(small, "GIF"))
    struct.pack_into("<HH", frame, frame.index(b",\0\0\0\0\x08\0\x08\0") + 5, 9_000, 9_500)
    lossless, lossy = (bytearray(save(small, "WEBP", lossless=flag)) for flag in (True, False))
    struct.pack_into("<I", lossless, 21, 16_382 | 16_382 << 14)
    struct.pack_into("<HH", lossy, 26, 16_383, 16_383)
    tiff = save(small, "TIFF").replace(struct.pack("<HHII", 256, 4, 1, 8), struct.pack("<HHII", 256, 4, 1, 20_000))
    tiff = tiff.replace(struct.pack("<HHII", 257, 4, 1, 8), struct.pack("<HHII", 257, 4, 1, 20_000))
    return {
        "png": png_header(20_000, 20_000),
        "jpeg": jpeg_header(20_000, 20_000, save(small, "JPEG")),
        "bmp": bytes(bmp),
        "gif screen": bytes(gif),
        "gif frame": bytes(frame),
        "webp lossless": bytes(lossless),
        "webp lossy": bytes(lossy),
        "tiff": tiff,
    }


@pytest.mark.parametrize(
    "name", ["png", "jpeg", "bmp", "gif screen", "gif frame", "webp lossless", "webp lossy", "tiff"]
)
def test_a_huge_header_is_refused_before_anything_is_allocated(
    name: str, save_picture: Save, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = huge_headers(save_picture)[name]
    decoded: list[object] = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda picture: decoded.append(picture))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(TooLargeError, match=r"\d{4,5}x\d{4,5} pixels"):
            decode_image(data)
    assert not decoded
    assert not caught


def test_a_size_where_pillow_would_warn_is_decided_by_our_limits_alone(save_picture: Save) -> None:
    data = png_header(9_500, 9_500)
    with pytest.raises(TooLargeError, match="9500x9500"):
        decode_image(data)
    with pytest.raises(ValueError, match="89478485"):
        ImageLimits(max_pixels=9_500 * 9_500)


def test_a_small_tiff_with_huge_tiles(save_picture: Save) -> None:
    data = bytearray(save_picture(Image.new("L", (8, 8)), "TIFF"))
    # RowsPerStrip and StripByteCounts become TileWidth and TileLength, in place, so that tags stay sorted.
    entry = data.index(struct.pack("<HH", 278, 4))
    struct.pack_into("<HHIHH", data, entry, 322, 3, 1, 60_000, 0)
    following = data.index(struct.pack("<HH", 279, 4))
    struct.pack_into("<HHIHH", data, following, 323, 3, 1, 60_000, 0)
    with pytest.raises(TooLargeError, match="60000x60000"):
        decode_image(bytes(data))


@pytest.mark.parametrize("size", [(0, 5), (5, 0)])
def test_no_pixels(size: tuple[int, int], save_picture: Save) -> None:
    gif = bytearray(save_picture(Image.new("RGB", (8, 8)), "GIF"))
    struct.pack_into("<HH", gif, 6, 0, 0)
    struct.pack_into("<HH", gif, gif.index(b",\0\0\0\0\x08\0\x08\0") + 5, *size)
    for data in (png_header(*size), bytes(gif)):
        with pytest.raises(InvalidImageError):
            decode_image(data)


@pytest.mark.parametrize("container", [*LOSSLESS, "JPEG"])
def test_a_truncated_file_is_refused_or_whole_never_half_shown(
    container: str, picture: Image.Image, save_picture: Save
) -> None:
    data = save_picture(picture, container)
    whole = decode_image(data)
    refused = 0
    for length in range(len(data)):
        try:
            # Only what follows the last pixel may lack.
            np.testing.assert_array_equal(decode_image(data[:length]), whole)
        except InvalidImageError:
            refused += 1
    assert refused > len(data) // 2


def test_a_truncated_jpeg_says_so(save_picture: Save) -> None:
    data = save_picture(Image.effect_noise((64, 64), 50).convert("RGB"), "JPEG")
    with pytest.raises(InvalidImageError, match="truncated JPEG") as caught:
        decode_image(data[: len(data) // 2])
    assert caught.value.detail


@pytest.mark.parametrize("container", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_picture_of_an_animation(container: str, save_picture: Save) -> None:
    frames = [Image.new("RGB", (6, 4), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    options = {"lossless": True} if container == "WEBP" else {}
    data = save_picture(frames[0], container, save_all=True, append_images=frames[1:], **options)
    np.testing.assert_array_equal(decode_image(data), np.asarray(frames[0]))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("container", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation(container: str, orientation: int, picture: Image.Image, save_picture: Save) -> None:
    # What the camera stores so that a viewer, who applies the tag, sees `picture`.
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    stored = picture if orientation == 1 else picture.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(container, {})
    pixels = decode_image(save_picture(stored, container, exif=exif, **options))
    assert pixels.shape == (10, 14, 3)
    corners = pixels[[1, 1, -2, -2], [1, -2, 1, -2]].astype(int)
    np.testing.assert_allclose(corners, [(250, 0, 0), (0, 250, 0), (0, 0, 250), (128,) * 3], atol=8)


@pytest.mark.parametrize(
    "exif", [b"", b"garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01"]
)
def test_broken_exif_leaves_the_picture_as_it_is(exif: bytes, picture: Image.Image, save_picture: Save) -> None:
    plain, marked = save_picture(picture, "JPEG"), save_picture(picture, "JPEG", exif=exif)
    np.testing.assert_array_equal(decode_image(marked), decode_image(plain))


def test_broken_exif_of_a_jpeg_without_jfif_header_gives_no_warning(picture: Image.Image, save_picture: Save) -> None:
    # Such a JPEG makes Pillow look for the resolution in the Exif block; this one claims a value beyond its end.
    block = b"Exif\0\0II*\0\x08\0\0\0\x01\0" + struct.pack("<HHII", 0x011A, 5, 1, 0xFFFF) + b"\0\0\0\0"
    data = save_picture(picture, "JPEG", exif=block).replace(b"JFIF", b"JFXX")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert decode_image(data).shape == (10, 14, 3)
    assert not caught


def test_odd_tiff_metadata_gives_no_warning(picture: Image.Image, save_picture: Save) -> None:
    data = save_picture(picture, "TIFF", software="x" * 20).replace(
        struct.pack("<HHI", 305, 2, 21), struct.pack("<HHI", 305, 2, 0xFFFF)
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        np.testing.assert_array_equal(decode_image(data), np.asarray(picture))
    assert not caught


def test_nothing_global_is_changed(picture: Image.Image, save_picture: Save) -> None:
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)
    for container in ("JPEG", "TIFF"):
        decode_image(save_picture(picture, container))
        with pytest.raises(InvalidImageError):
            decode_image(save_picture(picture, container)[:-200])
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)) == before


def test_many_threads(picture: Image.Image, save_picture: Save) -> None:
    files = [save_picture(picture, container) for container in (*LOSSLESS, "JPEG")] * 8
    alone = [decode_image(data) for data in files[:6]] * 8
    gate = threading.Barrier(4)

    def decode(part: int) -> list[np.ndarray]:
        gate.wait(timeout=30)
        return [decode_image(data) for data in files[part::4]]

    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(decode, range(4)))
    for part, decoded in enumerate(parts):
        for got, expected in zip(decoded, alone[part::4], strict=True):
            np.testing.assert_array_equal(got, expected)


def test_run_length_coded_bmp_is_read_up_to_a_size() -> None:
    def bmp(body: bytes, width: int, height: int) -> bytes:
        palette = b"".join(bytes((index, index, index, 0)) for index in range(256))
        start = 14 + 40 + len(palette)
        info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(body), 0, 0, 256, 0)
        return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + info + palette + body

    small = decode_image(bmp(b"\x04\x07\x00\x00\x04\x09\x00\x01", 4, 2))
    assert small[:, :, 0].tolist() == [[9] * 4, [7] * 4]
    with pytest.raises(TooLargeError, match="run-length"):
        decode_image(bmp(b"\x01\x07" * (1 << 19), 1024, 512))


def repeat_last_scan(jpeg: bytes, times: int) -> bytes:
    return jpeg[:-2] + jpeg[jpeg.rindex(b"\xff\xda") : -2] * times + jpeg[-2:]


def jpeg_in_tiff(jpeg: bytes, side: int, strips: int = 1, compression: int = 7) -> bytes:
    """A TIFF of `strips` strips of side x side pixels, each of which is the same JPEG."""
    table = 8 + 2 + 9 * 12 + 4
    starts = table + 6 + strips * 8
    places = [starts + len(jpeg) * index for index in range(strips)]
    offsets, sizes = (table + 6, table + 6 + 4 * strips) if strips > 1 else (places[0], len(jpeg))
    entries = [(256, 4, 1, side), (257, 4, 1, side * strips), (258, 3, 3, table), (259, 4, 1, compression)]
    entries += [(262, 4, 1, 6), (273, 4, strips, offsets), (277, 4, 1, 3), (278, 4, 1, side), (279, 4, strips, sizes)]
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    lists = struct.pack(f"<{strips}I", *places) + struct.pack("<I", len(jpeg)) * strips
    return head + struct.pack("<IHHH", 0, 8, 8, 8) + lists + jpeg * strips


def test_a_jpeg_of_very_many_scans_is_refused_whatever_its_size(picture: Image.Image, save_picture: Save) -> None:
    data = save_picture(picture, "JPEG", progressive=True)
    scans = data.count(b"\xff\xda")
    assert decode_image(repeat_last_scan(data, 64 - scans)).shape == (10, 14, 3)
    with pytest.raises(TooLargeError, match="65 scans, at most 64"):
        decode_image(repeat_last_scan(data, 65 - scans))


def test_scans_cannot_be_hidden(picture: Image.Image, save_picture: Save) -> None:
    data = repeat_last_scan(save_picture(picture, "JPEG", progressive=True), 100)
    # An end marker within a comment does not end the file; one that does leaves too little of it.
    comment = b"\xff\xfe\0\x06\xff\xd9\xff\xd9"
    place = data.index(b"\xff\xda")
    with pytest.raises(TooLargeError, match="scans"):
        decode_image(data[:place] + comment + data[place:])
    with pytest.raises(InvalidImageError):
        decode_image(data[:place] + b"\xff\xd9" + data[place:])
    with pytest.raises(TooLargeError, match="scans"):
        decode_image(data[:2] + b"\xff\xfe\0\x02" * 5000 + data[2:])


def test_what_follows_a_jpeg_is_not_counted(picture: Image.Image, save_picture: Save) -> None:
    exif = b"Exif\0\0" + save_picture(picture, "JPEG")  # a thumbnail, with markers of its own
    data = save_picture(picture, "JPEG", progressive=True, exif=exif)
    film = b"ftypmp42" + b"\xff\xda\0\x0c" * 500
    np.testing.assert_array_equal(decode_image(data + film), decode_image(data))


def test_jpeg_in_tiff_has_as_many_scans_as_it_has_strips(picture: Image.Image, save_picture: Save) -> None:
    data = save_picture(picture.resize((16, 16)), "JPEG", progressive=True)
    scans = data.count(b"\xff\xda")
    assert decode_image(jpeg_in_tiff(data, 16)).shape == (16, 16, 3)
    with pytest.raises(TooLargeError, match="66 scans, at most 65"):
        decode_image(jpeg_in_tiff(repeat_last_scan(data, 66 - scans), 16))
    with pytest.raises(TooLargeError, match="65 scans, at most 64"):
        decode_image(jpeg_in_tiff(repeat_last_scan(data, 65 - scans), 16, compression=6))
    baseline = save_picture(picture.resize((16, 16)), "JPEG")
    strips = jpeg_in_tiff(baseline, 16, strips=200)
    assert decode_image(strips).shape == (3200, 16, 3)
    sizes = struct.pack("<I", len(baseline)) * 200
    with pytest.raises(InvalidImageError, match="overlap"):
        decode_image(strips.replace(sizes, struct.pack("<I", len(strips)) * 200))


def test_scan_markers_in_the_pixels_of_a_tiff_mean_nothing(save_picture: Save) -> None:
    data = save_picture(Image.frombytes("RGB", (64, 64), b"\xff\xda" * 6144), "TIFF")
    assert decode_image(data).shape == (64, 64, 3)


@pytest.mark.parametrize("field", ["max_bytes", "max_pixels", "max_side"])
def test_limits_are_positive(field: str) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        ImageLimits(**{field: 0})
