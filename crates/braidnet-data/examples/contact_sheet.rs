//! Writes a sheet of generated digits as a grey picture (PGM): ten columns by class, eight rows.
//!
//! ```sh
//! cargo run --release -p braidnet-data --example contact_sheet -- digits.pgm [SEED | MNIST-FOLDER]
//! ```

use std::{env, error::Error, fs, path::Path};

use braidnet_data::{
    ImageSet,
    digits::{CLASSES, DigitsConfig},
    mnist,
};

const ROWS: usize = 8;
/// Pixels between two images, and around the sheet.
const GAP: usize = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let path = arguments.next().ok_or("name the picture to write, such as digits.pgm")?;
    let set = match arguments.next() {
        Some(folder) if Path::new(&folder).is_dir() => mnist::load(Path::new(&folder))?.train,
        seed => {
            let seed = seed.map_or(Ok(0), |seed| seed.parse())?;
            DigitsConfig { n_train: CLASSES * ROWS, n_test: 0, seed }.generate().train
        }
    };
    fs::write(&path, sheet(&set)).map_err(|error| format!("cannot write {path}: {error}"))?;
    println!("wrote {path}");
    Ok(())
}

/// The picture as a binary PGM file, one column for each class.
fn sheet(set: &ImageSet) -> Vec<u8> {
    let width = CLASSES * (set.cols() + GAP) + GAP;
    let height = ROWS * (set.rows() + GAP) + GAP;
    let mut picture = vec![96; width * height];
    for class in 0..CLASSES {
        let members = (0..set.len()).filter(|&i| usize::from(set.label(i)) == class);
        for (row, index) in members.take(ROWS).enumerate() {
            let corner = (GAP + row * (set.rows() + GAP)) * width + GAP + class * (set.cols() + GAP);
            for (k, line) in set.image(index).chunks(set.cols()).enumerate() {
                let start = corner + k * width;
                picture[start..start + set.cols()].copy_from_slice(line);
            }
        }
    }
    let mut file = format!("P5\n{width} {height}\n255\n").into_bytes();
    file.extend(picture);
    file
}
