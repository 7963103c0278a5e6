//! The files of pictures.

use std::{fs, path::Path, thread};

use braidnet_data::{
    DataError, PictureFault,
    pictures::{CHANNELS, Pictures, SIDE},
    tiny_imagenet,
};
use image::{GrayImage, ImageBuffer, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage};

use super::{Folder, colour, encoded, files, flat, is_flat};

#[test]
fn background_threads_decode() {
    let folder = Folder::sound("");
    let set: Box<dyn Pictures> = Box::new(folder.open().unwrap().train);
    let decode = |part: usize| (part..set.len()).step_by(3).map(|i| (i, set.decode(i).unwrap())).collect::<Vec<_>>();
    let parts = thread::scope(|scope| {
        let threads = [0, 1, 2].map(|part| {
            scope.spawn({
                let decode = &decode;
                move || decode(part)
            })
        });
        threads.map(|thread| thread.join().unwrap())
    });
    assert_eq!(parts.iter().flatten().count(), 12);
    assert!(parts.iter().flatten().all(|(i, picture)| is_flat(picture, colour(i / 4, i % 4))));
}

#[test]
fn grey_alpha_sixteen_bits_and_png_become_rgb() {
    let (grey, colour) = ([77; 3], [10, 200, 90]);
    let deep: ImageBuffer<Rgb<u16>, Vec<u16>> =
        ImageBuffer::from_pixel(64, 64, Rgb(colour.map(|value| u16::from(value) * 257)));
    let deep_grey: ImageBuffer<Luma<u16>, Vec<u16>> = ImageBuffer::from_pixel(64, 64, Luma([77 * 257]));
    let opaque = RgbaImage::from_pixel(64, 64, Rgba([10, 200, 90, 255]));
    let sound = [
        (encoded(GrayImage::from_pixel(64, 64, Luma([77])), ImageFormat::Jpeg), grey),
        (encoded(GrayImage::from_pixel(64, 64, Luma([77])), ImageFormat::Png), grey),
        (encoded(deep_grey, ImageFormat::Png), grey),
        (encoded(deep, ImageFormat::Png), colour),
        (encoded(opaque, ImageFormat::Png), colour),
        (encoded(RgbImage::from_pixel(64, 64, Rgb(colour)), ImageFormat::Png), colour),
    ];
    let folder = Folder::sound("");
    let set = folder.open().unwrap().train;
    for (i, (bytes, colour)) in sound.into_iter().enumerate() {
        // The bytes tell the format, not the name.
        fs::write(folder.train(0, 0), bytes).unwrap();
        let picture = set.decode(0).unwrap();
        assert!(is_flat(&picture, colour), "{i}: {:?}", &picture[..4]);
        assert!(
            colour != grey
                || (0..SIDE * SIDE).all(|k| (1..CHANNELS).all(|c| picture[k] == picture[c * SIDE * SIDE + k]))
        );
    }
}

#[test]
fn rows_columns_and_channels_are_in_their_places() {
    let picture = RgbImage::from_fn(64, 64, |x, y| Rgb([x as u8, 100 + y as u8, (x ^ y) as u8]));
    let bytes = encoded(picture.clone(), ImageFormat::Png);
    let decoded = tiny_imagenet::decode(Path::new("some.png"), &bytes).unwrap();
    for (x, y, pixel) in picture.enumerate_pixels() {
        let at = |channel: usize| decoded[(channel * SIDE + y as usize) * SIDE + x as usize];
        assert_eq!([at(0), at(1), at(2)], pixel.0);
    }
}

/// Whether a fault is the one expected.
type Expected = fn(&PictureFault) -> bool;

/// Broken files, and what is wrong with each.
fn broken() -> Vec<(Vec<u8>, Expected)> {
    let sized = |width, height, format| encoded(RgbImage::new(width, height), format);
    let mut clear = RgbaImage::from_pixel(64, 64, Rgba([1, 2, 3, 255]));
    clear.get_pixel_mut(63, 63)[3] = 254;
    let noisy = encoded(RgbImage::from_fn(64, 64, |x, y| Rgb([(x * y * 37) as u8; 3])), ImageFormat::Jpeg);
    let mut png = encoded(RgbImage::from_fn(64, 64, |x, y| Rgb([(x * y) as u8; 3])), ImageFormat::Png);
    let half = png.len() / 2;
    png[half] ^= 1;
    vec![
        (vec![], |fault| *fault == PictureFault::Format),
        (b"not a picture".to_vec(), |fault| *fault == PictureFault::Format),
        (b"GIF89a\x40\0\x40\0".to_vec(), |fault| *fault == PictureFault::Format),
        (sized(63, 64, ImageFormat::Jpeg), |fault| *fault == PictureFault::Size { width: 63, height: 64 }),
        (sized(64, 128, ImageFormat::Png), |fault| *fault == PictureFault::Size { width: 64, height: 128 }),
        (encoded(clear, ImageFormat::Png), |fault| *fault == PictureFault::Transparent),
        (noisy[..noisy.len() / 2].to_vec(), |fault| *fault == PictureFault::CutShort),
        (noisy[..noisy.len() - 1].to_vec(), |fault| *fault == PictureFault::CutShort),
        (noisy[..20].to_vec(), |fault| matches!(fault, PictureFault::Undecodable { .. })),
        (png[..half].to_vec(), |fault| matches!(fault, PictureFault::Undecodable { .. })),
        (png, |fault| matches!(fault, PictureFault::Undecodable { .. })),
    ]
}

#[test]
fn broken_pictures_are_named_with_their_fault() {
    let folder = Folder::sound("");
    let set = folder.open().unwrap().train;
    for (i, (bytes, expected)) in broken().into_iter().enumerate() {
        fs::write(folder.train(0, 2), bytes).unwrap();
        match set.decode(2) {
            Err(DataError::Picture { file, fault }) => {
                assert!(file == folder.train(0, 2) && expected(&fault), "{i}: {fault:?}")
            }
            other => panic!("{i}: {other:?}"),
        }
    }
    fs::remove_file(folder.train(0, 2)).unwrap();
    assert!(matches!(set.decode(2), Err(DataError::Unreadable { file, .. }) if file == folder.train(0, 2)));
}

/// A picture that says it is huge, without the bytes of one, is told by its header.
#[test]
fn sizes_are_refused_before_anything_is_decoded() {
    let mut bytes = flat([1, 2, 3]);
    // The frame header: marker, length, bits, then height and width.
    let header = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    bytes[header + 5..header + 9].fill(0xff);
    let error = tiny_imagenet::decode(Path::new("a.JPEG"), &bytes).unwrap_err();
    assert!(error.to_string().starts_with("a.JPEG: 65535 x 65535 pixels, but a picture has 64 x 64"), "{error}");
}

#[test]
fn checking_drops_what_is_broken_and_says_so_whatever_the_threads() {
    let folder = Folder::sound("");
    assert_eq!(folder.open().unwrap().train.check(2).len(), 0);
    let bad = [(0, 0), (1, 1), (2, 1), (2, 3)].map(|(class, picture)| folder.train(class, picture));
    bad.iter().for_each(|file| fs::write(file, "x").unwrap());
    for threads in [0, 1, 2, 3, 5, 12, 100] {
        let mut train = folder.open().unwrap().train;
        let all = files(&train);
        let dropped = train.check(threads);
        assert_eq!(dropped.len(), 4);
        for (error, file) in dropped.iter().zip(&bad) {
            assert!(matches!(error, DataError::Picture { file: named, .. } if named == file), "{threads}: {error}");
        }
        assert_eq!(files(&train), all.into_iter().filter(|file| !bad.contains(file)).collect::<Vec<_>>());
        assert_eq!((train.class_counts(), train.label(3)), (vec![3, 3, 2], 1));
        assert!((0..train.len()).all(|i| train.decode(i).is_ok()));
        assert_eq!(train.check(threads).len(), 0);
    }
    let mut none = folder.open().unwrap().train;
    none.limit(0);
    assert_eq!(none.check(3).len(), 0);
}
