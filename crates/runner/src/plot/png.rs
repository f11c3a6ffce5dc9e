//! SVG to PNG, with text on every machine.

use anyhow::{Context as _, Result, anyhow};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree};

/// DejaVu Sans, the glyphs of European languages and common signs: assets/fonts/README.md.
const FONT: &[u8] = include_bytes!("../../assets/fonts/DejaVuSans.ttf");
const FAMILY: &str = "DejaVu Sans";

/// The picture as PNG, `zoom` pixels for one of the SVG's. Text is set in a font of ours, whatever the machine has.
pub(crate) fn png(svg: &str, zoom: f32) -> Result<Vec<u8>> {
    let mut options = Options { font_family: FAMILY.to_owned(), ..Options::default() };
    let fonts = options.fontdb_mut();
    fonts.load_font_data(FONT.to_vec());
    fonts.set_sans_serif_family(FAMILY);
    fonts.set_serif_family(FAMILY);
    let tree = Tree::from_str(svg, &options).context("cannot read the SVG")?;
    let pixels = |length: f32| (length * zoom).round() as u32;
    let (width, height) = (pixels(tree.size().width()), pixels(tree.size().height()));
    let mut picture =
        Pixmap::new(width, height).ok_or_else(|| anyhow!("cannot make a picture of {width} x {height} pixels"))?;
    resvg::render(&tree, Transform::from_scale(zoom, zoom), &mut picture.as_mut());
    picture.encode_png().context("cannot write the PNG")
}

#[cfg(test)]
mod tests {
    use plotters::style::text_anchor::HPos;

    use super::super::{INK, LABEL, svg, write};
    use super::*;

    /// Pixels that are not white.
    fn dark(bytes: &[u8]) -> (u32, u32, usize) {
        let picture = image::load_from_memory(bytes).unwrap().to_rgb8();
        let dark = picture.pixels().filter(|pixel| pixel.0 != [255; 3]).count();
        (picture.width(), picture.height(), dark)
    }

    #[test]
    fn the_picture_has_the_asked_size_and_its_text_is_there() {
        let blank = svg("blank", (60, 20), |_| Ok(())).unwrap();
        assert_eq!(dark(&png(&blank, 2.0).unwrap()), (120, 40, 0));
        for text in ["method", "± 0.5 †", "αβγ"] {
            let written = svg("text", (60, 20), |canvas| write(canvas, text, (2, 10), LABEL, INK, HPos::Left)).unwrap();
            let (width, height, dark) = dark(&png(&written, 2.0).unwrap());
            assert_eq!((width, height), (120, 40));
            assert!(dark > 40, "{text}: {dark}");
        }
    }

    #[test]
    fn what_is_no_svg_is_an_error() {
        assert!(png("no svg", 1.0).unwrap_err().to_string().contains("cannot read the SVG"));
    }
}
