//! A drawing, as SVG and PNG.

use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};

/// The width of all pictures.
pub const WIDTH: u32 = 1000;

/// Pixels of the PNG per unit of the drawing.
const ZOOM: f32 = 2.0;

/// A drawing with the name of its files, or the lack of one where there is no data.
#[derive(Debug)]
pub struct Picture {
    pub name: String,
    pub svg: Option<String>,
}

/// The font of the PNG files, carried along: a machine may have none.
static FONTS: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
    let mut fonts = fontdb::Database::new();
    fonts.load_font_data(dejavu::sans::regular().to_vec());
    fonts.set_sans_serif_family("DejaVu Sans");
    Arc::new(fonts)
});

impl Picture {
    /// Writes `NAME.svg` and `NAME.png`, or removes those of an earlier report if there is no data now; whether there is.
    pub fn write(&self, folder: &Path) -> Result<bool> {
        let [svg, png] = ["svg", "png"].map(|extension| folder.join(&self.name).with_extension(extension));
        let Some(text) = &self.svg else {
            for old in [svg, png].iter().filter(|path| path.exists()) {
                fs::remove_file(old).with_context(|| format!("cannot remove {}", old.display()))?;
            }
            return Ok(false);
        };
        fs::write(&svg, text).with_context(|| format!("cannot write {}", svg.display()))?;
        let image = self.rasterize(text)?;
        image.save_png(&png).with_context(|| format!("cannot write {}", png.display()))?;
        Ok(true)
    }

    fn rasterize(&self, svg: &str) -> Result<Pixmap> {
        let options = Options { fontdb: Arc::clone(&FONTS), ..Options::default() };
        let tree = Tree::from_str(svg, &options).with_context(|| format!("cannot draw {}", self.name))?;
        let size = tree.size().to_int_size().scale_by(ZOOM).context("a picture without extent")?;
        let mut image = Pixmap::new(size.width(), size.height()).context("a picture too large")?;
        resvg::render(&tree, Transform::from_scale(ZOOM, ZOOM), &mut image.as_mut());
        Ok(image)
    }
}
