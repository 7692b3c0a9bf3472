//! Turns stroke templates into grey images: smooth curves, distortion, a pen of some width.
//!
//! Only additions, multiplications, divisions and square roots are used, which IEEE 754 rounds alike everywhere, so
//! that an image has the same bytes on every machine.

use crate::random::Random;
use crate::strokes::{Point, Stroke};

/// Height and width of a drawn image, in pixels.
pub(crate) const SIDE: usize = 28;
/// Pixels kept free at each edge, measured from the middle of the stroke.
const MARGIN: f32 = 2.5;
/// Straight pieces per curve between two points of a template.
const PIECES: usize = 6;

/// How strongly one image is distorted; lengths in units of the template square where not said otherwise.
pub(crate) struct Style {
    /// Deviation of each template point on its own.
    pub jitter: f32,
    /// Deviation of the smooth distortion field.
    pub elastic: f32,
    /// Largest rotation either way, as the tangent of half the angle.
    pub half_turn: f32,
    /// Range of the horizontal shift per unit of height.
    pub shear: (f32, f32),
    /// Range of the height, in pixels.
    pub height: (f32, f32),
    /// Range of width over height.
    pub aspect: (f32, f32),
    /// Largest shift from the centre, in pixels.
    pub shift: f32,
    /// Range of half the pen's width, in pixels.
    pub pen: (f32, f32),
    /// Range of the width of the soft edge, in pixels.
    pub soft: (f32, f32),
    /// Range of the ink's darkness, 1 is full.
    pub ink: (f32, f32),
    /// Largest deviation of the noise in the ink.
    pub grain: f32,
}

/// A place on the image, in pixels, with half the pen's width there.
#[derive(Clone, Copy)]
struct Dot {
    x: f32,
    y: f32,
    radius: f32,
}

/// Draws strokes into a grey image, 255 is full ink.
pub(crate) fn draw(strokes: &[Stroke], style: &Style, random: &mut Random, image: &mut [u8; SIDE * SIDE]) {
    let field = Field::new(style.elastic, random);
    let mut lines: Vec<Vec<Point>> = Vec::new();
    for stroke in strokes {
        flatten(&jittered(stroke, style.jitter, random), &mut lines);
    }
    lines.iter_mut().flatten().for_each(|point| *point = field.move_point(*point));
    place(&mut lines, style, random);

    let radius = random.between(style.pen.0, style.pen.1);
    let soft = random.between(style.soft.0, style.soft.1);
    let mut canvas = [0f32; SIDE * SIDE];
    for line in &lines {
        // Pressure changes slowly along a stroke.
        let (start, end) = (random.between(0.8, 1.15), random.between(0.8, 1.15));
        let dot = |i: usize| {
            let along = i as f32 / (line.len() - 1).max(1) as f32;
            Dot { x: line[i].0, y: line[i].1, radius: radius * (start + (end - start) * along) }
        };
        (1..line.len()).for_each(|i| ink_segment(&mut canvas, dot(i - 1), dot(i), soft));
    }

    let ink = random.between(style.ink.0, style.ink.1);
    let grain = random.between(0.0, style.grain);
    for (pixel, &value) in image.iter_mut().zip(&canvas) {
        let value = if value > 0.0 { value * ink * (1.0 + grain * random.normal()) } else { 0.0 };
        *pixel = (value.clamp(0.0, 1.0) * 255.0 + 0.5) as u8;
    }
}

/// The points of a stroke, each moved a little; the two points of a corner stay together.
fn jittered(stroke: Stroke, deviation: f32, random: &mut Random) -> Vec<Point> {
    let mut moved: Vec<Point> = Vec::with_capacity(stroke.len());
    for (i, &(x, y)) in stroke.iter().enumerate() {
        let point = match moved.last() {
            Some(&last) if stroke[i - 1] == (x, y) => last,
            _ => (x + deviation * random.normal(), y + deviation * random.normal()),
        };
        moved.push(point);
    }
    moved
}

/// Cuts a stroke at its corners and each part into short straight pieces along a Catmull–Rom curve.
fn flatten(points: &[Point], lines: &mut Vec<Vec<Point>>) {
    let mut line = vec![points[0]];
    for i in 0..points.len() - 1 {
        let (from, to) = (points[i], points[i + 1]);
        if from == to {
            continue;
        }
        // At an end or a corner the neighbour beyond is mirrored, so that the curve starts straight.
        let before = if i > 0 && points[i - 1] != from { points[i - 1] } else { mirror(from, to) };
        let after =
            if i + 2 < points.len() && points[i + 2] != to { points[i + 2] } else { mirror(to, from) };
        for piece in 1..=PIECES {
            let t = piece as f32 / PIECES as f32;
            line.push((
                catmull_rom([before.0, from.0, to.0, after.0], t),
                catmull_rom([before.1, from.1, to.1, after.1], t),
            ));
        }
    }
    lines.push(line);
}

fn mirror(centre: Point, other: Point) -> Point {
    (2.0 * centre.0 - other.0, 2.0 * centre.1 - other.1)
}

/// The uniform Catmull–Rom spline between the second and the third value.
fn catmull_rom([a, b, c, d]: [f32; 4], t: f32) -> f32 {
    let cubic = 3.0 * (b - c) + d - a;
    let square = 2.0 * a - 5.0 * b + 4.0 * c - d;
    0.5 * (2.0 * b + t * ((c - a) + t * (square + t * cubic)))
}

/// A smooth random displacement: a coarse grid of vectors, blended in between (elastic distortion).
struct Field([[Point; Field::SIDE]; Field::SIDE]);

impl Field {
    const SIDE: usize = 4;

    fn new(deviation: f32, random: &mut Random) -> Field {
        Field(std::array::from_fn(|_| {
            std::array::from_fn(|_| (deviation * random.normal(), deviation * random.normal()))
        }))
    }

    fn move_point(&self, (x, y): Point) -> Point {
        let cells = (Field::SIDE - 1) as f32;
        let (u, v) = (x.clamp(0.0, 1.0) * cells, y.clamp(0.0, 1.0) * cells);
        let (column, row) = ((u as usize).min(Field::SIDE - 2), (v as usize).min(Field::SIDE - 2));
        let (s, t) = (smooth(u - column as f32), smooth(v - row as f32));
        let blend = |pick: fn(Point) -> f32| {
            let at = |r: usize, c: usize| pick(self.0[row + r][column + c]);
            let top = at(0, 0) + s * (at(0, 1) - at(0, 0));
            let bottom = at(1, 0) + s * (at(1, 1) - at(1, 0));
            top + t * (bottom - top)
        };
        (x + blend(|p| p.0), y + blend(|p| p.1))
    }
}

fn smooth(t: f32) -> f32 {
    t * t * (3.0 - 2.0 * t)
}

/// Scales, shears and turns the lines, then puts them on the image, wholly inside.
fn place(lines: &mut [Vec<Point>], style: &Style, random: &mut Random) {
    let height = random.between(style.height.0, style.height.1);
    let width = height * random.between(style.aspect.0, style.aspect.1);
    let shear = random.between(style.shear.0, style.shear.1);
    // With t the tangent of half the angle, cosine and sine are rational: no library function is needed.
    let t = random.between(-style.half_turn, style.half_turn);
    let (cosine, sine) = ((1.0 - t * t) / (1.0 + t * t), 2.0 * t / (1.0 + t * t));
    for (x, y) in lines.iter_mut().flatten() {
        let v = (*y - 0.5) * height;
        let u = (*x - 0.5) * width - shear * v;
        (*x, *y) = (cosine * u - sine * v, sine * u + cosine * v);
    }
    let shift = (random.between(-style.shift, style.shift), random.between(-style.shift, style.shift));
    let x = Extent::of(lines.iter().flatten().map(|p| p.0));
    let y = Extent::of(lines.iter().flatten().map(|p| p.1));
    let scale = x.largest_scale().min(y.largest_scale());
    let (x_offset, y_offset) = (x.offset(scale, shift.0), y.offset(scale, shift.1));
    for (x, y) in lines.iter_mut().flatten() {
        (*x, *y) = (*x * scale + x_offset, *y * scale + y_offset);
    }
}

/// The range of one coordinate.
struct Extent {
    low: f32,
    high: f32,
}

impl Extent {
    const ROOM: f32 = SIDE as f32 - 2.0 * MARGIN;

    fn of(values: impl Iterator<Item = f32>) -> Extent {
        values.fold(Extent { low: f32::MAX, high: f32::MIN }, |extent, x| Extent {
            low: extent.low.min(x),
            high: extent.high.max(x),
        })
    }

    /// The scale, at most 1, at which it fits between the margins.
    fn largest_scale(&self) -> f32 {
        (Extent::ROOM / (self.high - self.low).max(1e-3)).min(1.0)
    }

    /// What to add after scaling to centre it, and to shift it as far as there is room.
    fn offset(&self, scale: f32, shift: f32) -> f32 {
        let free = ((Extent::ROOM - (self.high - self.low) * scale) / 2.0).max(0.0);
        SIDE as f32 / 2.0 - scale * (self.low + self.high) / 2.0 + shift.clamp(-free, free)
    }
}

/// Lays ink along a straight piece: full within the pen's radius, fading over `soft` pixels.
fn ink_segment(canvas: &mut [f32; SIDE * SIDE], from: Dot, to: Dot, soft: f32) {
    let reach = from.radius.max(to.radius) + soft / 2.0;
    let span = |a: f32, b: f32| {
        // The middle of pixel i is at i + 0.5.
        let low = (a.min(b) - reach).max(0.0) as usize;
        let high = ((a.max(b) + reach).max(0.0) as usize + 1).min(SIDE);
        low..high
    };
    let (dx, dy) = (to.x - from.x, to.y - from.y);
    let length2 = (dx * dx + dy * dy).max(1e-6);
    for row in span(from.y, to.y) {
        for column in span(from.x, to.x) {
            let (px, py) = (column as f32 + 0.5 - from.x, row as f32 + 0.5 - from.y);
            let along = ((px * dx + py * dy) / length2).clamp(0.0, 1.0);
            let (ex, ey) = (px - along * dx, py - along * dy);
            let distance = (ex * ex + ey * ey).sqrt();
            let radius = from.radius + (to.radius - from.radius) * along;
            let value = ((radius + soft / 2.0 - distance) / soft).clamp(0.0, 1.0);
            let pixel = &mut canvas[row * SIDE + column];
            *pixel = pixel.max(value);
        }
    }
}
