//! Any bytes in place of a mesh: nothing panics, and what is read is what was written.
//!
//! `BRAIDNET_FUZZ_CASES` says how many of each kind.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{env, fmt::Write as _, path::Path};

use braidnet_data::{
    off::{self, Mesh},
    voxels::{Fill, voxelise},
};
use proptest::{array::uniform3, collection::vec, prelude::*, sample};

fn cases() -> u32 {
    env::var("BRAIDNET_FUZZ_CASES").map_or(500, |n| n.parse().unwrap())
}

/// A mesh as a file has it.
fn written(vertices: &[[f32; 3]], triangles: &[[u32; 3]], glued: bool) -> String {
    let gap = if glued { "" } else { "\n" };
    let mut text = format!("OFF{gap}{} {} 0\n", vertices.len(), triangles.len());
    vertices.iter().for_each(|[x, y, z]| writeln!(text, "{x} {y:e} {z}").unwrap());
    triangles.iter().for_each(|[a, b, c]| writeln!(text, "3 {a} {b} {c}").unwrap());
    text
}

fn mesh() -> impl Strategy<Value = (Vec<[f32; 3]>, Vec<[u32; 3]>)> {
    let number = prop_oneof![4 => -9.0_f32..9.0, 1 => prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL];
    vec(uniform3(number), 3..9).prop_flat_map(|vertices| {
        let n = vertices.len() as u32;
        (Just(vertices), vec(uniform3(0..n), 1..9))
    })
}

/// The reader's answer, with what holds of every answer checked.
fn answer(bytes: &[u8]) -> Result<Option<Mesh>, TestCaseError> {
    match off::parse(Path::new("some/bed.off"), bytes.to_vec()) {
        Ok(mesh) => {
            prop_assert!(!mesh.triangles().is_empty());
            prop_assert!(mesh.corners().flatten().flatten().all(f32::is_finite));
            let [surface, solid] = [Fill::Surface, Fill::Solid].map(|fill| voxelise(&mesh, 8, fill).unwrap());
            prop_assert!(surface.contains(&1) && surface.iter().zip(&solid).all(|(surface, solid)| surface <= solid));
            Ok(Some(mesh))
        }
        Err(error) => {
            prop_assert!(error.to_string().starts_with("some/bed.off"), "{}", error);
            Ok(None)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..200), begin in any::<bool>()) {
        let begin: &[u8] = if begin { b"OFF\n" } else { b"" };
        answer(&[begin, &bytes].concat())?;
    }

    #[test]
    fn any_words(words in vec(sample::select(vec![
        "OFF", "\n", "\n", "\n", " ", " ", "0", "1", "2", "3", "4", "-1", "3 0 1 2\n", "0 0 1\n", "1e-40", "3.4e38", "inf",
        "99999999999", "#",
    ]), 0..60)) {
        answer(("OFF\n3 2 0\n".to_owned() + &words.concat()).as_bytes())?;
    }

    #[test]
    fn what_was_written_is_read((vertices, triangles) in mesh(), glued in any::<bool>()) {
        let mesh = answer(written(&vertices, &triangles, glued).as_bytes())?;
        prop_assert!(mesh.is_some());
        let mesh = mesh.unwrap();
        prop_assert_eq!((mesh.vertices(), mesh.triangles()), (&vertices[..], &triangles[..]));
    }

    #[test]
    fn damaged_files((vertices, triangles) in mesh(), at in any::<sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = written(&vertices, &triangles, false).into_bytes();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        answer(&bytes)?;
    }
}
