//! Meshes in the Object File Format: corners of a surface in space, and the faces between them.
//!
//! ```text
//! OFF
//! 4 4 6         vertices, faces, edges
//! 0 0 0         a vertex: x y z
//! 1 0 0
//! 0 1 0
//! 0 0 1
//! 3 0 2 1       a face: how many corners, and which vertices they are
//! 3 0 1 3
//! 3 0 3 2
//! 3 1 2 3
//! ```
//!
//! The sizes may stand on the first line too, and as in many files of ModelNet right after the letters
//! (`OFF490 518 0`). Blank lines do not count, nor does what follows a `#`, the corners of a face (colours) or the last
//! face.

use std::path::Path;

use crate::{DataError, LineFault, file, line_fault::shown};

/// A surface of triangles; at least one.
#[derive(Clone, Debug, PartialEq)]
pub struct Mesh {
    vertices: Vec<[f32; 3]>,
    triangles: Vec<[u32; 3]>,
}

impl Mesh {
    /// The vertices, all finite; also those of no triangle.
    pub fn vertices(&self) -> &[[f32; 3]] {
        &self.vertices
    }

    /// The triangles, each three numbers of vertices. A face of more corners has become a fan around its first.
    pub fn triangles(&self) -> &[[u32; 3]] {
        &self.triangles
    }

    /// Where the corners of each triangle are.
    pub fn corners(&self) -> impl Iterator<Item = [[f32; 3]; 3]> {
        self.triangles.iter().map(|triangle| triangle.map(|vertex| self.vertices[vertex as usize]))
    }
}

/// Reads a mesh from a file, plain or gzip.
///
/// # Errors
/// [`DataError`], naming the file and the line, and what is wrong with it: unreadable, not UTF-8, not OFF, sizes that
/// are none, fewer lines than they ask for, a coordinate that is not a finite number, a face of fewer than 3 corners or
/// with one that is no vertex, nothing at all.
pub fn read(file: &Path) -> Result<Mesh, DataError> {
    mesh(file, &file::read_text(file)?)
}

/// Reads a mesh from the bytes of a file, plain or gzip; `file` is only named in errors.
///
/// # Errors
/// As [`read`].
pub fn parse(file: &Path, bytes: Vec<u8>) -> Result<Mesh, DataError> {
    mesh(file, &file::text(file, bytes)?)
}

fn mesh(file: &Path, text: &str) -> Result<Mesh, DataError> {
    let fault = |line, fault| DataError::Line { file: file.to_owned(), line, fault };
    let mut lines = lines(text);
    let Some((line, header)) = lines.next() else {
        return Err(DataError::EmptyText { file: file.to_owned(), wanted: "mesh" });
    };
    let glued = match header.strip_prefix("OFF") {
        Some(glued) => glued.trim_start(),
        None => return Err(fault(line, LineFault::NotOff { word: shown(header) })),
    };
    let sizes = if glued.is_empty() { lines.next() } else { Some((line, glued)) };
    let (line, sizes) = sizes.unwrap_or((line, ""));
    let [n_vertices, n_faces] = read_sizes(sizes).map_err(|reason| fault(line, reason))?;

    // The sizes are only believed as far as there are lines, so no memory is set aside for them.
    let (mut vertices, mut triangles) = (Vec::new(), Vec::new());
    for (line, text) in lines.by_ref().take(n_vertices) {
        vertices.push(vertex(text).map_err(|reason| fault(line, reason))?);
    }
    whole(file, "vertices", n_vertices, vertices.len())?;
    let mut got = 0;
    for (line, text) in lines.take(n_faces) {
        push_face(text, n_vertices, &mut triangles).map_err(|reason| fault(line, reason))?;
        got += 1;
    }
    whole(file, "faces", n_faces, got)?;
    Ok(Mesh { vertices, triangles })
}

/// The lines that say something, without comments, and their numbers.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let said = text.lines().map(|line| line.split_once('#').map_or(line, |(said, _)| said).trim_ascii());
    (1..).zip(said).filter(|(_, said)| !said.is_empty())
}

fn whole(file: &Path, part: &'static str, expected: usize, got: usize) -> Result<(), DataError> {
    if got == expected {
        return Ok(());
    }
    Err(DataError::MeshCutShort { file: file.to_owned(), part, expected, got })
}

/// How many vertices and faces there should be. The number of edges says nothing new.
fn read_sizes(text: &str) -> Result<[usize; 2], LineFault> {
    let sizes: Option<Vec<usize>> = text.split_ascii_whitespace().map(|word| word.parse().ok()).collect();
    match sizes.as_deref() {
        Some(&[vertices, faces, _edges]) if vertices < 3 || faces == 0 => Err(LineFault::EmptyMesh { vertices, faces }),
        Some(&[vertices, faces, _edges]) => Ok([vertices, faces]),
        _ => Err(LineFault::MeshSizes { text: shown(text) }),
    }
}

fn vertex(text: &str) -> Result<[f32; 3], LineFault> {
    let mut vertex = [0.0; 3];
    let got = text.split_ascii_whitespace().count();
    if got != vertex.len() {
        return Err(LineFault::Coordinates { got });
    }
    for (column, (to, word)) in (1..).zip(vertex.iter_mut().zip(text.split_ascii_whitespace())) {
        *to = match word.parse::<f32>() {
            Ok(value) if value.is_finite() => value,
            _ => return Err(LineFault::NotFinite { column, word: shown(word) }),
        };
    }
    Ok(vertex)
}

/// Appends the triangles of a face.
fn push_face(text: &str, n_vertices: usize, triangles: &mut Vec<[u32; 3]>) -> Result<(), LineFault> {
    let mut words = text.split_ascii_whitespace();
    let size = words.next().unwrap_or_default();
    let Some(expected) = size.parse().ok().filter(|&size: &usize| size >= 3) else {
        return Err(LineFault::FaceSize { word: shown(size) });
    };
    let corner = |word: &str| match word.parse::<u32>() {
        Ok(corner) if (corner as usize) < n_vertices => Ok(corner),
        _ => Err(LineFault::NotAVertex { word: shown(word), n_vertices }),
    };
    let corners = words.take(expected).map(corner).collect::<Result<Vec<u32>, LineFault>>()?;
    if corners.len() < expected {
        return Err(LineFault::FaceCutShort { expected, got: corners.len() });
    }
    triangles.extend(corners[1..].windows(2).map(|side| [corners[0], side[0], side[1]]));
    Ok(())
}
