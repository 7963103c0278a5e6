//! The example on pictures: runs, command lines to refuse, and folders like that of Tiny ImageNet.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use resvg::tiny_skia::{Color, Pixmap};

use super::{Refusal, Run};

const NAME: &str = "tiny_imagenet";

pub const RUNS: &[Run] = &[
    Run {
        example: NAME,
        args: &["--blocks=2,2", "--channels=2", "--train-samples=8", "--test-samples=4", "--batch=4", "--epochs=1"],
        on_threads: &["--layer-ranks=3", "--data-ranks=2", "--classes=2", "--norm=group", "--group-size=2"],
        under_mpirun: &[2],
    },
    // Three levels, the coarse ones with grids of their own.
    Run {
        example: NAME,
        args: &["--blocks=4,3", "--channels=2", "--train-samples=4", "--test-samples=4", "--classes=2"],
        on_threads: &[
            "--batch=4",
            "--epochs=1",
            "--schedule=layer-parallel",
            "--fwd-levels=3",
            "--fwd-cfactor=2",
            "--coarsen-space=0,1",
        ],
        under_mpirun: &[],
    },
    Run {
        example: NAME,
        args: &["--data=PICTURES/whole", "--blocks=2,1", "--channels=2", "--batch=4", "--epochs=1"],
        on_threads: &["--pooling=average"],
        under_mpirun: &[2],
    },
    Run {
        example: NAME,
        args: &["--data=PICTURES/undecodable", "--skip-broken=1", "--blocks=2,1", "--channels=2", "--epochs=1"],
        on_threads: &["--no-augment", "--pooling=none", "--norm=none"],
        under_mpirun: &[],
    },
];

pub const REFUSALS: &[Refusal] = &[
    refusal(&["--blocks", "2,0"], "layers of a block is 0"),
    refusal(&["--blocks", ""], "--blocks"),
    refusal(&["--channels", "0"], "channels is 0"),
    refusal(&["--norm", "group", "--group-size", "3"], "groups of 3 do not divide the 8 channels"),
    refusal(&["--blocks", "1,1,1,1,1,1,1,1"], "use at most 7 blocks"),
    refusal(&["--coarsen-space", "0,1,2,3"], "a transition from extents"),
    refusal(
        &["--blocks", "200", "--bwd-cfactor", "2", "--bwd-levels", "8", "--coarsen-space", "0,1,2,3,4,5,6"],
        "no points left on level 7",
    ),
    refusal(&["--blocks", "2,1", "--layer-ranks", "5"], "ranks"),
    refusal(&["--classes", "41"], "41 classes of generated pictures"),
    refusal(&["--classes", "2", "--data", "PICTURES/whole"], "cannot be used with"),
    refusal(&["--skip-broken", "1"], "--data"),
    refusal(&["--train-samples", "0"], "--train-samples is 0"),
    refusal(&["--data", "/nonexistent"], "/nonexistent"),
    refusal(&["--data", "PICTURES/no-train"], "has folders train and val"),
    refusal(&["--data", "PICTURES/absent"], "val_annotations.txt:2: "),
    refusal(&["--data", "PICTURES/undecodable"], "n02_1.png: the picture cannot be decoded"),
    refusal(&["--data", "PICTURES/size"], "n01_0.png: 64 x 63 pixels"),
    refusal(&["--data", "PICTURES/two-broken", "--skip-broken", "1"], "--skip-broken 2"),
];

const fn refusal(args: &'static [&'static str], word: &'static str) -> Refusal {
    Refusal { example: NAME, args, word }
}

/// Makes a small set like Tiny ImageNet, two classes with two training pictures and one other each, that has what `name`
/// says: `no-train` (folder), `absent` (an annotated picture), `undecodable` (a picture), `size` (63 rows), `two-broken`
/// (pictures).
///
/// # Errors
/// If it cannot be written.
pub fn write(folder: &Path, name: &str) -> Result<()> {
    let (train, val) = (folder.join("train"), folder.join("val"));
    let mut annotations = String::new();
    fs::create_dir_all(val.join("images"))?;
    for (number, class) in ["n01", "n02"].into_iter().enumerate() {
        let images = train.join(class).join("images");
        fs::create_dir_all(&images)?;
        for picture in 0..2 {
            fs::write(images.join(format!("{class}_{picture}.png")), flat(64, number + picture)?)?;
        }
        fs::write(val.join("images").join(format!("val_{number}.png")), flat(64, number)?)?;
        annotations += &format!("val_{number}.png\t{class}\t0\t0\t62\t62\n");
    }
    fs::write(folder.join("wnids.txt"), "n01\nn02\n")?;
    fs::write(val.join("val_annotations.txt"), annotations)?;
    let [sized, cut] = [("n01", 0), ("n02", 1)].map(|(class, n)| train.join(format!("{class}/images/{class}_{n}.png")));
    let half = &flat(64, 1)?[..80];
    match name {
        "no-train" => fs::remove_dir_all(train)?,
        "absent" => fs::remove_file(val.join("images").join("val_1.png"))?,
        "undecodable" => fs::write(cut, half)?,
        "size" => fs::write(sized, flat(63, 0)?)?,
        "two-broken" => [sized, cut].into_iter().try_for_each(|file| fs::write(file, half))?,
        _ => {}
    }
    Ok(())
}

/// A PNG of 64 columns and so many rows, in a colour of its own.
fn flat(rows: u32, colour: usize) -> Result<Vec<u8>> {
    let mut picture = Pixmap::new(64, rows).context("a picture without extent")?;
    picture.fill(Color::from_rgba8(60 * colour as u8, 120, 200, u8::MAX));
    picture.encode_png().context("a picture that cannot be written")
}
