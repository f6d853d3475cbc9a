import numpy as np
import pytest
from matplotlib.image import imread

from zsds import alerts
from zsds.alerts.look import describe_packet, draw_packet
from zsds.core.packet import AlertPacket
from zsds.io.packets import read_packet, read_packets
from zsds.resources import resource


@pytest.fixture(scope="module")
def sample():
    return read_packet(resource("schemas", "alert", "4_02", "sample.avro"))


def test_description_is_of_plain_values(sample):
    about = describe_packet(sample)
    assert (about["band"], about["sign"], about["n_history"]) == ("g", "+", 4)
    assert about["mjd"] == 60001.25
    assert about["drb"] is None


def test_picture_shows_the_candidate_between_the_cross_hairs(sample, tmp_path):
    draw_packet(sample).savefig(tmp_path / "sample.png")
    image = imread(tmp_path / "sample.png")
    assert image.shape[:2] == (682, 990)
    figure = draw_packet(sample)
    stamps = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in stamps] == ["science", "reference", "difference"]
    limits = {axes.images[0].get_clim() for axes in stamps}
    assert len(limits) == 1
    lines = np.concatenate([line.get_xydata() for line in stamps[2].lines])
    assert lines.mean(axis=0).tolist() == [31.0, 31.0]
    shown = stamps[2].images[0].get_array()
    assert shown[29:34, 29:34].max() == shown.max()


def test_light_curve_has_detections_limits_and_an_inverted_axis(sample):
    axes = draw_packet(sample).axes[-1]
    assert axes.yaxis_inverted()
    labels = axes.get_legend_handles_labels()[1]
    assert sorted(labels) == ["g brighter than reference", "g limit"]


def test_missing_and_foreign_stamps_leave_a_note(sample):
    record = {
        **sample.record,
        "cutoutScience": None,
        "cutoutTemplate": {"fileName": "a.jpg", "stampData": b"\xff\xd8 a picture"},
    }
    figure = draw_packet(AlertPacket(record, "4.02"))
    assert sum(text.get_text() == "no stamp" for axes in figure.axes for text in axes.texts) == 2


def test_all_blank_stamps_draw(sample):
    blank = {"fileName": "x", "stampData": alerts.cut_stamp(np.zeros((5, 5), np.float32), -90, -90)}
    record = {**sample.record, **{f"cutout{name}": blank for name in ("Science", "Template", "Difference")}}
    draw_packet(AlertPacket(record, "4.02"))


@pytest.mark.parametrize(
    "folder", ["v2_native_20180713", "v33_native", "v401_native_fp_hists", "official_samples"]
)
def test_real_packets_of_several_versions_draw(shared_data, folder, tmp_path):
    packets = list(read_packets(shared_data / "ztf_alerts" / folder))
    assert all(describe_packet(packet)["magpsf"] > 0 for packet in packets)
    draw_packet(packets[0]).savefig(tmp_path / "real.png")


def test_cross_hair_of_a_real_stamp_cut_at_the_edge(shared_data):
    path = shared_data / "ztf_alerts" / "v2_native_20180713" / "558201455415015014.avro"
    packet = read_packet(path)
    assert alerts.open_stamp(packet.stamp("Science")).shape == (63, 50)
    axes = draw_packet(packet).axes[2]
    lines = np.concatenate([line.get_xydata() for line in axes.lines])
    assert lines.mean(axis=0).tolist() == [31.0, 31.0]  # the stamp lacks its right side
