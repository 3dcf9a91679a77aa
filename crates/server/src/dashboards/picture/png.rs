//! Pictures as pixels: shapes are painted with their edges smoothed, text with fonts that are part of the program, so
//! that a picture looks the same where no font is installed.

use std::f64::consts::PI;
use std::io::Write as _;
use std::sync::LazyLock;

use ab_glyph_rasterizer::{Point, Rasterizer, point};
use flate2::write::ZlibEncoder;
use flate2::{Compression, Crc};
use ttf_parser::{GlyphId, OutlineBuilder};

use super::{Anchor, Face, PIXELS_MAX, Picture, Shape};

/// Fonts of the pages, cut to Latin, Greek, Cyrillic and the signs that pictures use. SIL Open Font License 1.1, see
/// assets/fonts.
const FONTS: [&[u8]; 4] = [
    include_bytes!("../../../assets/fonts/Inter-Regular.otf"),
    include_bytes!("../../../assets/fonts/Inter-SemiBold.otf"),
    include_bytes!("../../../assets/fonts/JetBrainsMono-Regular.ttf"),
    include_bytes!("../../../assets/fonts/JetBrainsMono-SemiBold.ttf"),
];

static FACES: LazyLock<Vec<ttf_parser::Face<'static>>> = LazyLock::new(|| FONTS.iter().filter_map(|f| ttf_parser::Face::parse(f, 0).ok()).collect());

/// Steps of a quarter circle where lines end and meet.
const ROUND_STEPS: usize = 4;
/// Sine of the angle up to which a line goes straight on.
const STRAIGHT: f64 = 0.1;
/// Length of the straight pieces that an arc is made of.
const ARC_PIECE: f64 = 2.0;

/// Red, green, blue of `#rrggbb`.
fn rgb(colour: &str) -> [u8; 3] {
    let channel = |at: usize| colour.get(at..at + 2).and_then(|d| u8::from_str_radix(d, 16).ok()).unwrap_or(0);
    [channel(1), channel(3), channel(5)]
}

struct Pixels {
    width: usize,
    height: usize,
    /// Red, green, blue, opacity.
    bytes: Vec<u8>,
}

impl Pixels {
    fn blend(&mut self, x: i64, y: i64, [r, g, b]: [u8; 3], cover: f32) {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return };
        if x >= self.width || y >= self.height || cover <= 0.0 {
            return;
        }
        let at = (y * self.width + x) * 4;
        let cover = cover.min(1.0);
        let Some(pixel) = self.bytes.get_mut(at..at + 4) else { return };
        for (channel, new) in pixel.iter_mut().zip([r, g, b, 255]) {
            *channel = (f32::from(*channel) + (f32::from(new) - f32::from(*channel)) * cover).round() as u8;
        }
    }

    /// Fills outlines; what several of them cover in the same direction is covered once.
    fn fill(&mut self, outlines: &[Vec<(f64, f64)>], colour: [u8; 3], opacity: f32) {
        let points = || outlines.iter().flatten();
        let (mut low, mut high) = ((f64::INFINITY, f64::INFINITY), (f64::NEG_INFINITY, f64::NEG_INFINITY));
        for (x, y) in points() {
            (low, high) = ((low.0.min(*x), low.1.min(*y)), (high.0.max(*x), high.1.max(*y)));
        }
        // Only what lies inside the picture is worked out.
        let (left, top) = (low.0.floor().max(-1.0), low.1.floor().max(-1.0));
        let (right, bottom) = (high.0.ceil().min(self.width as f64 + 1.0), high.1.ceil().min(self.height as f64 + 1.0));
        if !(right > left && bottom > top) {
            return;
        }
        let mut raster = Rasterizer::new((right - left) as usize + 1, (bottom - top) as usize + 1);
        let place = |(x, y): (f64, f64)| -> Point { point((x.clamp(left, right) - left) as f32, (y.clamp(top, bottom) - top) as f32) };
        for outline in outlines {
            for (i, from) in outline.iter().enumerate() {
                raster.draw_line(place(*from), place(outline[(i + 1) % outline.len()]));
            }
        }
        let (left, top) = (left as i64, top as i64);
        raster.for_each_pixel_2d(|x, y, cover| self.blend(left + i64::from(x), top + i64::from(y), colour, cover.min(1.0) * opacity));
    }

    /// A line through points as the outline of its width, round where it turns and ends.
    fn stroke(&mut self, points: &[(f64, f64)], width: f64, colour: [u8; 3]) {
        let half = (width / 2.0).max(0.5);
        let mut outlines = Vec::with_capacity(points.len() * 2);
        for pair in points.windows(2) {
            let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
            let length = (x1 - x0).hypot(y1 - y0);
            if length < 1e-9 {
                continue;
            }
            let (dx, dy) = ((y1 - y0) / length * half, -(x1 - x0) / length * half);
            // All outlines turn the same way round, or where they overlap they would cancel out.
            outlines.push(vec![(x0 + dx, y0 + dy), (x1 + dx, y1 + dy), (x1 - dx, y1 - dy), (x0 - dx, y0 - dy)]);
        }
        let steps = ROUND_STEPS * 4;
        for (i, (x, y)) in points.iter().enumerate() {
            // Where it goes straight on, the outlines of both sides meet without a gap.
            let turns = match (i.checked_sub(1).map(|b| points[b]), points.get(i + 1)) {
                (Some(before), Some(after)) => {
                    let (a, b) = ((x - before.0, y - before.1), (after.0 - x, after.1 - y));
                    (a.0 * b.1 - a.1 * b.0).abs() > STRAIGHT * a.0.hypot(a.1) * b.0.hypot(b.1) || a.0 * b.0 + a.1 * b.1 < 0.0
                }
                _ => true,
            };
            if turns {
                let round = |i: usize| {
                    let angle = 2.0 * PI * i as f64 / steps as f64;
                    (x + half * angle.cos(), y + half * angle.sin())
                };
                outlines.push((0..steps).map(round).collect());
            }
        }
        self.fill(&outlines, colour, 1.0);
    }

    fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), colour: [u8; 3], opacity: f32) {
        if width > 0.0 && height > 0.0 {
            self.fill(&[vec![(x, y), (x + width, y), (x + width, y + height), (x, y + height)]], colour, opacity);
        }
    }

    fn text(&mut self, (x, y): (f64, f64), size: f64, colour: [u8; 3], anchor: Anchor, face: Face, text: &str) {
        let set: Vec<(usize, GlyphId)> = text.chars().filter_map(|c| glyph(face, c)).collect();
        let advance = |(face, id): (usize, GlyphId)| {
            FACES.get(face).map_or(0.0, |f| f64::from(f.glyph_hor_advance(id).unwrap_or(0)) / f64::from(f.units_per_em()) * size)
        };
        let length: f64 = set.iter().map(|g| advance(*g)).sum();
        let mut pen = match anchor {
            Anchor::Start => x,
            Anchor::Middle => x - length / 2.0,
            Anchor::End => x - length,
        };
        for (face, id) in set {
            if let Some(font) = FACES.get(face) {
                let mut outline = Outline { scale: size / f64::from(font.units_per_em()), at: (pen, y), done: Vec::new(), open: Vec::new() };
                if font.outline_glyph(id, &mut outline).is_some() {
                    outline.close();
                    self.fill(&outline.done, colour, 1.0);
                }
            }
            pen += advance((face, id));
        }
    }
}

/// The glyph of a character: of the face that is asked for, else of any that has it. None where none has it.
fn glyph(face: Face, c: char) -> Option<(usize, GlyphId)> {
    let first = usize::from(face.mono) * 2 + usize::from(face.bold);
    // The other family of the same weight is the next best.
    [first, (first + 2) % 4, 0, 2].into_iter().find_map(|i| Some((i, FACES.get(i)?.glyph_index(c)?)))
}

/// The outline of a glyph in pixels, its curves taken apart into straight pieces.
struct Outline {
    scale: f64,
    at: (f64, f64),
    done: Vec<Vec<(f64, f64)>>,
    open: Vec<(f64, f64)>,
}

/// Straight pieces of a curve: glyphs are small.
const CURVE_PIECES: usize = 6;

impl Outline {
    fn place(&self, x: f32, y: f32) -> (f64, f64) {
        (self.at.0 + f64::from(x) * self.scale, self.at.1 - f64::from(y) * self.scale)
    }

    fn curve(&mut self, at: impl Fn(f64) -> (f64, f64)) {
        self.open.extend((1..=CURVE_PIECES).map(|i| at(i as f64 / CURVE_PIECES as f64)));
    }
}

impl OutlineBuilder for Outline {
    fn move_to(&mut self, x: f32, y: f32) {
        self.close();
        self.open.push(self.place(x, y));
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.open.push(self.place(x, y));
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let (Some(a), b, c) = (self.open.last().copied(), self.place(x1, y1), self.place(x, y)) else { return };
        let mix = |t: f64, a: f64, b: f64, c: f64| (1.0 - t) * (1.0 - t) * a + 2.0 * (1.0 - t) * t * b + t * t * c;
        self.curve(|t| (mix(t, a.0, b.0, c.0), mix(t, a.1, b.1, c.1)));
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let (Some(a), b, c, d) = (self.open.last().copied(), self.place(x1, y1), self.place(x2, y2), self.place(x, y)) else { return };
        let mix = |t: f64, a: f64, b: f64, c: f64, d: f64| {
            let s = 1.0 - t;
            s * s * s * a + 3.0 * s * s * t * b + 3.0 * s * t * t * c + t * t * t * d
        };
        self.curve(|t| (mix(t, a.0, b.0, c.0, d.0), mix(t, a.1, b.1, c.1, d.1)));
    }

    fn close(&mut self) {
        if self.open.len() > 2 {
            self.done.push(std::mem::take(&mut self.open));
        }
        self.open.clear();
    }
}

fn shape(pixels: &mut Pixels, shape: &Shape, scale: f64) {
    let to = |(x, y): (f64, f64)| (x * scale, y * scale);
    match shape {
        Shape::Text { at, size, colour, anchor, face, text } => pixels.text(to(*at), size * scale, rgb(colour), *anchor, *face, text),
        Shape::Line { from, to: end, colour, dash } => {
            let (from, end, colour) = (to(*from), to(*end), rgb(colour));
            let length = (end.0 - from.0).hypot(end.1 - from.1);
            let point = |at: f64| (from.0 + (end.0 - from.0) * at / length, from.1 + (end.1 - from.1) * at / length);
            let Some((on, off)) = dash.filter(|_| length > 0.0) else { return hairline(pixels, from, end, scale, colour) };
            let mut at = 0.0;
            while at < length {
                hairline(pixels, point(at), point((at + on * scale).min(length)), scale, colour);
                at += (on + off) * scale;
            }
        }
        Shape::Rect { at, size, colour, opacity } => pixels.rect(to(*at), to(*size), rgb(colour), *opacity as f32),
        Shape::Lines { stretches, colour, width } => {
            for stretch in stretches {
                let points: Vec<(f64, f64)> = stretch.iter().copied().map(to).collect();
                pixels.stroke(&points, width * scale, rgb(colour));
            }
        }
        Shape::Arc { centre, radius, from, to: end, colour, width } => {
            let pieces = ((end - from).abs() * radius * scale / ARC_PIECE).ceil().max(2.0) as usize;
            let (centre, radius, half) = (to(*centre), radius * scale, width * scale / 2.0);
            let at = |i: usize, radius: f64| {
                let angle = from + (end - from) * i as f64 / pieces as f64;
                (centre.0 + radius * angle.cos(), centre.1 - radius * angle.sin())
            };
            let outer = (0..=pieces).map(|i| at(i, radius + half));
            let inner = (0..=pieces).rev().map(|i| at(i, radius - half));
            pixels.fill(&[outer.chain(inner).collect()], rgb(colour), 1.0);
        }
    }
}

/// A straight line one unit wide, its ends cut off.
fn hairline(pixels: &mut Pixels, from: (f64, f64), to: (f64, f64), width: f64, colour: [u8; 3]) {
    let length = (to.0 - from.0).hypot(to.1 - from.1);
    if length < 1e-9 {
        return;
    }
    let half = (width / 2.0).max(0.5);
    let (dx, dy) = ((to.1 - from.1) / length * half, -(to.0 - from.0) / length * half);
    pixels.fill(&[vec![(from.0 + dx, from.1 + dy), (to.0 + dx, to.1 + dy), (to.0 - dx, to.1 - dy), (from.0 - dx, from.1 - dy)]], colour, 1.0);
}

/// The outline of a rectangle with round corners.
fn rounded((x, y): (f64, f64), (width, height): (f64, f64), radius: f64) -> Vec<(f64, f64)> {
    let corners = [
        (x + width - radius, y + radius, -0.5),
        (x + width - radius, y + height - radius, 0.0),
        (x + radius, y + height - radius, 0.5),
        (x + radius, y + radius, 1.0),
    ];
    let steps = ROUND_STEPS * 2;
    corners
        .into_iter()
        .flat_map(|(x, y, turn)| {
            (0..=steps).map(move |i| {
                let angle = PI * (turn + 0.5 * i as f64 / steps as f64);
                (x + radius * angle.cos(), y + radius * angle.sin())
            })
        })
        .collect()
}

pub(super) fn paint(picture: &Picture, scale: f64) -> Result<Vec<u8>, String> {
    let (width, height) = ((picture.style.width * scale).round() as usize, (picture.style.height * scale).round() as usize);
    if width * height > PIXELS_MAX || width == 0 || height == 0 {
        return Err(format!("{width} by {height} pixels, {PIXELS_MAX} are the most: choose a smaller width, height or scale"));
    }
    let mut pixels = Pixels { width, height, bytes: vec![0; width * height * 4] };
    let size = (picture.style.width * scale, picture.style.height * scale);
    let radius = 6.0 * scale;
    pixels.fill(&[rounded((0.0, 0.0), size, radius)], rgb(picture.palette.line), 1.0);
    pixels.fill(&[rounded((scale, scale), (size.0 - 2.0 * scale, size.1 - 2.0 * scale), radius - scale)], rgb(picture.palette.surface), 1.0);
    for part in &picture.shapes {
        shape(&mut pixels, part, scale);
    }
    encode(&pixels).map_err(|e| format!("the picture could not be packed: {e}"))
}

fn encode(pixels: &Pixels) -> std::io::Result<Vec<u8>> {
    let side = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes();
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = [side(pixels.width), side(pixels.height)].concat();
    // Eight bits a channel, colour with opacity, nothing interlaced.
    header.extend([8, 6, 0, 0, 0]);
    chunk(&mut out, *b"IHDR", &header);
    let mut packed = ZlibEncoder::new(Vec::new(), Compression::new(6));
    let mut above = vec![0; pixels.width * 4];
    let mut line = Vec::with_capacity(pixels.width * 4 + 1);
    for row in pixels.bytes.chunks_exact(pixels.width * 4) {
        // Filter 2, what is different from the row above: in most places nothing.
        line.clear();
        line.push(2);
        line.extend(row.iter().zip(&above).map(|(now, above)| now.wrapping_sub(*above)));
        packed.write_all(&line)?;
        above.copy_from_slice(row);
    }
    chunk(&mut out, *b"IDAT", &packed.finish()?);
    chunk(&mut out, *b"IEND", &[]);
    Ok(out)
}

fn chunk(out: &mut Vec<u8>, name: [u8; 4], data: &[u8]) {
    out.extend(u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
    let mut sum = Crc::new();
    for part in [&name[..], data] {
        sum.update(part);
        out.extend_from_slice(part);
    }
    out.extend(sum.sum().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::super::{Canvas, DARK, LIGHT, Style};
    use super::*;

    fn picture(style: Style, draw: impl FnOnce(&mut Canvas)) -> Picture {
        let palette = if style.dark { DARK } else { LIGHT };
        let mut canvas = Canvas { shapes: Vec::new(), palette };
        draw(&mut canvas);
        Picture { title: String::new(), style, palette, shapes: canvas.shapes }
    }

    /// Width, height and pixels of a picture, its sums checked.
    fn decode(png: &[u8]) -> (usize, usize, Vec<u8>) {
        assert_eq!(&png[..8], b"\x89PNG\r\n\x1a\n");
        let (mut at, mut packed, mut size) = (8, Vec::new(), (0, 0));
        let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().expect("four bytes")) as usize;
        while at < png.len() {
            let (length, name) = (number(at), &png[at + 4..at + 8]);
            let mut sum = Crc::new();
            sum.update(&png[at + 4..at + 8 + length]);
            assert_eq!(sum.sum() as usize, number(at + 8 + length), "the sum of {name:?}");
            match name {
                b"IHDR" => size = (number(at + 8), number(at + 12)),
                b"IDAT" => packed.extend_from_slice(&png[at + 8..at + 8 + length]),
                _ => {}
            }
            at += 12 + length;
        }
        let mut raw = Vec::new();
        flate2::read::ZlibDecoder::new(packed.as_slice()).read_to_end(&mut raw).expect("zlib");
        let mut bytes: Vec<u8> = Vec::new();
        for row in raw.chunks_exact(size.0 * 4 + 1) {
            assert_eq!(row[0], 2, "the filter");
            let above = bytes.len().checked_sub(size.0 * 4);
            for (i, difference) in row[1..].iter().enumerate() {
                bytes.push(difference.wrapping_add(above.map_or(0, |at| bytes[at + i])));
            }
        }
        (size.0, size.1, bytes)
    }

    fn at((width, _, bytes): &(usize, usize, Vec<u8>), x: usize, y: usize) -> [u8; 4] {
        bytes[(y * width + x) * 4..][..4].try_into().expect("a pixel")
    }

    #[test]
    fn shapes_are_where_they_should_be() {
        let style = Style { width: 120.0, height: 60.0, dark: false };
        let drawn = picture(style, |c| {
            c.rect((20.0, 10.0), (30.0, 20.0), "#df740c", 1.0);
            c.lines([Some((60.0, 50.0)), Some((100.0, 50.0)), None, Some((110.0, 20.0))].into_iter(), "#2254a5", 4.0);
            c.line((10.0, 40.5), (50.0, 40.5), "#9f0018", Some((6.0, 4.0)));
        });
        let png = decode(&drawn.png(2.0).expect("a picture"));
        assert_eq!((png.0, png.1), (240, 120));
        assert_eq!(at(&png, 0, 0)[3], 0, "the corner is cut off");
        assert_eq!(at(&png, 60, 40), [0xdf, 0x74, 0x0c, 255], "inside the rectangle");
        assert_eq!(at(&png, 150, 30), [255, 255, 255, 255], "outside of it");
        assert_eq!(at(&png, 160, 100), [0x22, 0x54, 0xa5, 255], "on the line");
        assert_eq!(at(&png, 200, 70), [255, 255, 255, 255], "the gap");
        assert_eq!((at(&png, 24, 80), at(&png, 37, 80)), ([0x9f, 0, 0x18, 255], [255, 255, 255, 255]), "a dash and the room behind it");
    }

    #[test]
    fn text_needs_no_font_of_the_system() {
        let style = Style { width: 200.0, height: 60.0, dark: true };
        let ink = |text: &str, class: &str, anchor: Anchor| {
            let png = decode(&picture(style, |c| c.text((100.0, 40.0), 20.0, "#e7ebf0", anchor, class, text)).png(1.0).expect("a picture"));
            let inked = |x: usize| (10..50).filter(|y| at(&png, x, *y)[0] > 0x80).count();
            let columns: Vec<usize> = (5..195).filter(|x| inked(*x) > 0).collect();
            let all: usize = columns.iter().map(|x| inked(*x)).sum();
            (columns.first().copied().unwrap_or(0), columns.last().copied().unwrap_or(0), all)
        };
        let (first, last, plain) = ink("Latenz", "", Anchor::Middle);
        assert!(plain > 200 && (first as i64 - 100 + (last as i64 - 100)).abs() <= 6, "in the middle: {first} {last} {plain}");
        assert!(ink("Latenz", "b", Anchor::Middle).2 > plain, "bold has more ink");
        assert!(ink("Latenz", "", Anchor::Start).0 >= 99 && ink("Latenz", "", Anchor::End).1 <= 101);
        for sign in ["✕", "▲", "●", "…", "∞", "µ", "Ω", "ж", "ß"] {
            assert!(ink(sign, "n b", Anchor::Middle).2 > 5, "{sign} is there");
        }
        assert_eq!(ink("\u{4e2d}", "", Anchor::Middle).2, 0, "what no font has is left out");
    }

    #[test]
    fn a_picture_has_a_limit() {
        let style = Style { width: 4000.0, height: 3000.0, dark: false };
        assert!(picture(style, |_| {}).png(3.0).expect_err("too many").contains("12000000 are the most"));
    }
}
