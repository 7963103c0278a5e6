//! Meshes as people write them, and what is said of files that are none.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{error::Error as _, path::Path};

use braidnet_data::{
    DataError, LineFault,
    off::{self, Mesh},
};
use tempfile::TempDir;

const NAME: &str = "chair/train/chair_0001.off";

fn parse(text: impl AsRef<[u8]>) -> Result<Mesh, DataError> {
    off::parse(Path::new(NAME), text.as_ref().to_vec())
}

fn fault(text: &str) -> (usize, LineFault) {
    match parse(text) {
        Err(DataError::Line { file, line, fault }) => {
            assert_eq!(file, Path::new(NAME));
            (line, fault)
        }
        other => panic!("{text:?} gives {other:?}"),
    }
}

/// A square and a triangle above one of its corners.
const SOUND: &str = "OFF\n5 2 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0\n0.5 -2.5e-1 1\n4 0 1 2 3\n3 0 1 4\n";

#[test]
fn vertices_and_faces_are_read() {
    let mesh = parse(SOUND).unwrap();
    assert_eq!(mesh.vertices().len(), 5);
    assert_eq!(mesh.vertices()[4], [0.5, -0.25, 1.0]);
    // The square has become a fan.
    assert_eq!(mesh.triangles(), [[0, 1, 2], [0, 2, 3], [0, 1, 4]]);
    assert_eq!(mesh.corners().nth(1), Some([[0.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 1.0, 0.0]]));
}

#[test]
fn the_header_may_be_written_in_many_ways() {
    let mesh = parse(SOUND).unwrap();
    let body = SOUND.strip_prefix("OFF\n5 2 0\n").unwrap();
    for header in [
        "OFF5 2 0",
        "OFF 5 2 0",
        "OFF\t5\t2\t0  ",
        "OFF\r\n5 2 0\r",
        "# by hand\n\n  OFF # a comment\n\n# another\n 5 2 7 # three sizes",
        "\u{feff}OFF\n5 2 0",
    ] {
        assert_eq!(parse(format!("{header}\n{body}")).unwrap(), mesh, "{header:?}");
    }
    // Colours, comments and blank lines, other line ends, and what follows the last face.
    let coloured = SOUND.replace("2 3\n", "2 3 255 0 0\n\n").replace("1 4", "1 4 0.5 0.5 0.5 1 # red");
    assert_eq!(parse(&coloured).unwrap(), mesh);
    assert_eq!(parse(SOUND.replace('\n', "\r\n")).unwrap(), mesh);
    assert_eq!(parse(SOUND.trim_end()).unwrap(), mesh);
    assert_eq!(parse(format!("{SOUND}and so on\n")).unwrap(), mesh);
}

#[test]
fn a_file_is_read_from_disk() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a.off");
    assert!(matches!(off::read(&file), Err(DataError::Unreadable { file: named, .. }) if named == file));
    assert!(matches!(off::read(folder.path()), Err(DataError::Unreadable { .. })));
    std::fs::write(&file, SOUND).unwrap();
    assert_eq!(off::read(&file).unwrap(), parse(SOUND).unwrap());
}

#[test]
fn what_is_not_off_is_named() {
    for (text, line, word) in [
        ("ply\n", 1, "ply"),
        ("\n# off\n8 6 12\n", 3, "8 6 12"),
        ("off\n3 1 3\n", 1, "off"),
        ("COFF\n3 1 3\n", 1, "COFF"),
        ("solid with a name that is long indeed", 1, "solid with a name that i..."),
    ] {
        assert_eq!(fault(text), (line, LineFault::NotOff { word: word.into() }));
    }
}

#[test]
fn sizes_are_three_numbers() {
    for (text, line, sizes) in [
        ("OFF", 1, ""),
        ("OFF\n# nothing\n\n", 1, ""),
        ("OFF\n8 6", 2, "8 6"),
        ("OFF\n8 6 12 1", 2, "8 6 12 1"),
        ("OFF\n8 -6 12", 2, "8 -6 12"),
        ("OFF 8.0 6 12", 1, "8.0 6 12"),
        ("OFF\n99999999999999999999999 1 1", 2, "99999999999999999999999 ..."),
        ("OFF BINARY\n", 1, "BINARY"),
        ("OFFSET 8 6 12", 1, "SET 8 6 12"),
    ] {
        assert_eq!(fault(text), (line, LineFault::MeshSizes { text: sizes.into() }), "{text:?}");
    }
}

#[test]
fn an_empty_mesh_is_none() {
    for (vertices, faces) in [(0, 0), (8, 0), (0, 6), (2, 1)] {
        assert_eq!(fault(&format!("OFF\n{vertices} {faces} 0\n")), (2, LineFault::EmptyMesh { vertices, faces }));
    }
    for text in ["", "\n\n", "# OFF\n"] {
        assert!(matches!(parse(text), Err(DataError::EmptyText { wanted: "mesh", .. })));
    }
}

#[test]
fn a_vertex_has_three_finite_coordinates() {
    let with = |vertex: &str| fault(&SOUND.replace("1 1 0", vertex));
    for (vertex, column, word) in [
        ("1 one 0", 2, "one"),
        ("NaN 1 0", 1, "NaN"),
        ("1 1 inf", 3, "inf"),
        ("1 -1e39 0", 2, "-1e39"),
        ("1,0 1 0", 1, "1,0"),
    ] {
        assert_eq!(with(vertex), (5, LineFault::NotFinite { column, word: word.into() }));
    }
    assert_eq!(with("1 1"), (5, LineFault::Coordinates { got: 2 }));
    assert_eq!(with("1 1 0 0"), (5, LineFault::Coordinates { got: 4 }));
}

#[test]
fn a_face_has_at_least_three_corners_that_are_vertices() {
    let with = |face: &str| fault(&SOUND.replace("3 0 1 4", face));
    for size in ["2 0 1", "0", "-3 0 1 2", "three 0 1 2", "3.0 0 1 2"] {
        let word = size.split(' ').next().unwrap().to_owned();
        assert_eq!(with(size), (9, LineFault::FaceSize { word }));
    }
    for (face, word) in [("3 0 1 5", "5"), ("3 -1 0 1", "-1"), ("3 0 1.0 2", "1.0"), ("3 0 1 4294967296", "4294967296")]
    {
        assert_eq!(with(face), (9, LineFault::NotAVertex { word: word.into(), n_vertices: 5 }));
    }
    assert_eq!(with("4 0 1 2"), (9, LineFault::FaceCutShort { expected: 4, got: 3 }));
    assert_eq!(with("3"), (9, LineFault::FaceCutShort { expected: 3, got: 0 }));
    assert_eq!(
        with("18446744073709551615 0 1 2"),
        (9, LineFault::FaceCutShort { expected: usize::MAX, got: 3 }),
        "a huge face takes no memory"
    );
}

#[test]
fn a_file_that_is_cut_short_says_what_is_missing() {
    let cut = |text: &str| match parse(text) {
        Err(DataError::MeshCutShort { file, part, expected, got }) if file == Path::new(NAME) => (part, expected, got),
        other => panic!("{other:?}"),
    };
    assert_eq!(cut("OFF\n3 1 0\n0 0 0\n1 0 0\n"), ("vertices", 3, 2));
    assert_eq!(cut(SOUND.trim_end().rsplit_once('\n').unwrap().0), ("faces", 2, 1));
    // Sizes are not believed: no memory is set aside.
    let huge = format!("OFF\n{} {} 0\n0 0 0\n", usize::MAX, usize::MAX);
    assert_eq!(cut(&huge), ("vertices", usize::MAX, 1));
    assert_eq!(cut(&SOUND.replace("5 2 0", &format!("5 {} 0", usize::MAX))), ("faces", usize::MAX, 2));
}

#[test]
fn text_that_is_none_is_named() {
    assert!(matches!(parse(b"OFF\n3 1 0\n\xff"), Err(DataError::Line { line: 3, fault: LineFault::NotUtf8, .. })));
    assert!(matches!(parse(b"\x1f\x8b and no gzip"), Err(DataError::CorruptGzip { .. })));
}

#[test]
fn messages_say_where_and_what_to_do() {
    let message = parse(SOUND.replace("3 0 1 4", "3 0 1 5")).unwrap_err();
    assert_eq!(
        message.to_string(),
        "chair/train/chair_0001.off:9: corner \"5\" is no vertex: vertices are counted from 0 to 4"
    );
    assert!(message.source().is_none());
    let message = parse(SOUND.replace("5 2 0", "9 2 0")).unwrap_err().to_string();
    assert_eq!(message, "chair/train/chair_0001.off:8: 5 coordinates: a vertex has 3, x y z");
    let message = parse("OFF\n3 1 0\n0 0 0\n").unwrap_err().to_string();
    assert_eq!(
        message,
        "chair/train/chair_0001.off: 3 vertices expected, 1 found: the file is cut short, fetch it again"
    );
}
