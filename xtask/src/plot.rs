//! Pictures of curves, as SVG.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 46.0;
const BOTTOM: f64 = 42.0;
/// Told apart in black and white, too, by their brightness.
const COLOURS: [&str; 4] = ["#0b5fa5", "#e07b00", "#1b8a3a", "#8a1b6b"];

/// A curve.
pub(crate) struct Curve {
    /// What the legend calls it.
    pub(crate) name: String,
    /// (x, y), by x.
    pub(crate) points: Vec<(f64, f64)>,
}

/// A picture of curves on the same axes.
pub(crate) struct Plot<'a> {
    pub(crate) title: &'a str,
    pub(crate) x: &'a str,
    pub(crate) y: &'a str,
    pub(crate) curves: Vec<Curve>,
}

impl Plot<'_> {
    /// The picture.
    pub(crate) fn svg(&self) -> String {
        let all = || self.curves.iter().flat_map(|c| &c.points);
        let most = |of: fn(&(f64, f64)) -> f64| all().map(of).fold(0.0, f64::max);
        let (x_step, y_step) = (step(most(|p| p.0)), step(most(|p| p.1)));
        let end = |most: f64, step: f64| (most / step).ceil().max(1.0) * step;
        let (x_end, y_end) = (end(most(|p| p.0), x_step), end(most(|p| p.1), y_step));
        let x = |v: f64| LEFT + v / x_end * (WIDTH - LEFT - RIGHT);
        let y = |v: f64| HEIGHT - BOTTOM - v / y_end * (HEIGHT - TOP - BOTTOM);
        let mut out = String::new();
        let _ = writeln!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"11\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>"
        );
        let text = |out: &mut String, at: (f64, f64), anchor: &str, words: &str| {
            let (x, y) = at;
            let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>");
        };
        text(&mut out, (LEFT, 16.0), "start", self.title);
        text(&mut out, (WIDTH - RIGHT, HEIGHT - 8.0), "end", self.x);
        text(&mut out, (8.0, TOP - 10.0), "start", self.y);
        for n in 0..=(y_end / y_step).round() as u32 {
            let v = f64::from(n) * y_step;
            let (x0, x1, at) = (x(0.0), x(x_end), y(v));
            let _ = writeln!(out, "<path d=\"M{x0:.1} {at:.1}H{x1:.1}\" stroke=\"#ddd\"/>");
            text(&mut out, (LEFT - 6.0, at + 4.0), "end", &number(v));
        }
        for n in 0..=(x_end / x_step).round() as u32 {
            let v = f64::from(n) * x_step;
            text(&mut out, (x(v), HEIGHT - BOTTOM + 16.0), "middle", &number(v));
        }
        let mut legend = LEFT;
        for (curve, colour) in self.curves.iter().zip(COLOURS.iter().cycle()) {
            let _ = writeln!(out, "<path d=\"M{legend:.1} 27h18\" stroke=\"{colour}\" stroke-width=\"3\"/>");
            text(&mut out, (legend + 23.0, 31.0), "start", &curve.name);
            legend += 45.0 + 6.3 * curve.name.chars().count() as f64;
            let mut path = String::new();
            for (n, point) in curve.points.iter().enumerate() {
                let _ = write!(path, "{}{:.1} {:.1}", if n == 0 { 'M' } else { 'L' }, x(point.0), y(point.1));
            }
            let _ =
                writeln!(out, "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.3\"/>");
        }
        out.push_str("</svg>\n");
        out
    }
}

/// The distance of the lines of a grid: 1, 2 or 5 with zeroes, so that there are four to ten of them.
fn step(most: f64) -> f64 {
    if most <= 0.0 {
        return 1.0;
    }
    let rough = most / 8.0;
    let power = 10_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|n| n * power).find(|s| *s >= rough).unwrap_or(10.0 * power)
}

fn number(v: f64) -> String {
    let text = format!("{v:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_has_round_numbers() {
        assert_eq!([0.0, 0.9, 7.0, 20.0, 345.0].map(step), [1.0, 0.2, 1.0, 5.0, 50.0]);
        assert_eq!([0.0, 0.2, 50.0].map(number), ["0", "0.2", "50"]);
    }

    #[test]
    fn every_curve_has_a_path_and_a_name() {
        let curve = |name: &str| Curve { name: name.to_owned(), points: vec![(0.0, 0.0), (10.0, 100.0)] };
        let plot = Plot { title: "t", x: "s", y: "segments", curves: vec![curve("one"), curve("two")] };
        let svg = plot.svg();
        assert!(svg.contains(">one<") && svg.contains(">two<"));
        // From the corner below on the left to that above on the right.
        assert!(svg.contains("M64.0 258.0L746.0 46.0"), "{svg}");
    }
}
