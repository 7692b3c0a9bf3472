//! Charts as PNG files: SVG drawn by resvg.

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb::Database};

/// Pixels for each unit of a chart.
const SCALE: f32 = 2.0;
/// Fonts that are looked for first, in this order.
const FONTS: [&str; 6] = ["Inter", "Helvetica", "Arial", "DejaVu Sans", "Liberation Sans", "Noto Sans"];

/// A chart as the bytes of a PNG file, in light colours.
pub fn png(svg: &str) -> Result<Vec<u8>, String> {
    let mut options = Options { font_size: 12.0, ..Options::default() };
    let fonts = options.fontdb_mut();
    fonts.load_system_fonts();
    let family =
        family(fonts).ok_or("a PNG file needs a font, and this system has none; write SVG instead")?;
    fonts.set_sans_serif_family(&family);
    options.font_family = family;
    let tree = Tree::from_str(&plain(svg), &options)
        .map_err(|error| format!("the chart cannot be drawn: {error}"))?;
    let size = tree.size().to_int_size().scale_by(SCALE).ok_or("the chart is too large for a PNG file")?;
    let mut pixels =
        Pixmap::new(size.width(), size.height()).ok_or("the chart is too large for a PNG file")?;
    resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| format!("the picture cannot be written: {error}"))
}

/// A family that there is.
fn family(fonts: &Database) -> Option<String> {
    let known = |name: &str| fonts.faces().any(|face| face.families.iter().any(|(family, _)| family == name));
    let preferred = FONTS.into_iter().find(|name| known(name)).map(str::to_string);
    preferred.or_else(|| fonts.faces().find_map(|face| Some(face.families.first()?.0.clone())))
}

/// The SVG with the colours of the light theme in the places of their names, which resvg does not know.
fn plain(svg: &str) -> String {
    let mut text = svg.to_string();
    // The rules for dark screens and paper.
    while let Some(start) = text.find("@media") {
        let Some(end) = text[start..].find("}}") else { break };
        text.replace_range(start..start + end + 2, "");
    }
    let Some(start) = text.find(":root{") else { return text };
    let Some(length) = text[start..].find('}') else { return text };
    let rule = text[start + ":root{".len()..start + length].to_string();
    text.replace_range(start..=start + length, "");
    for (name, colour) in rule.split(';').filter_map(|part| part.trim().split_once(':')) {
        text = text.replace(&format!("var({name})"), colour);
    }
    // Its shorthand takes one family.
    text.replace("font:12px system-ui,sans-serif", "font-size:12px;font-family:sans-serif")
}

#[cfg(test)]
mod tests {
    use super::*;
    use dropforge::plot::{Chart, Series};

    #[test]
    fn a_chart_becomes_a_picture() {
        let svg =
            Chart::new("Loss").x("epoch").y("loss").add(Series::line("loss", [(1.0, 2.0), (2.0, 1.0)])).svg();
        let drawn = plain(&svg);
        assert!(!drawn.contains("var(") && !drawn.contains("@media") && drawn.contains("#0b62c4"), "{drawn}");
        match png(&svg) {
            Ok(file) => {
                assert!(file.starts_with(b"\x89PNG") && file.len() > 2000, "{} bytes", file.len());
                assert_eq!(file[16..24], [0, 0, 5, 0, 0, 0, 2, 208], "1280 to 720");
            }
            Err(message) => assert!(message.contains("font"), "{message}"),
        }
    }
}
