//! Charts as they are, against files; `DROPFORGE_BLESS=1 cargo test -p dropforge-plot` writes these anew. Look at them
//! then.

use dropforge_plot::{
    Block, Blocks, Chart, Coordinate, LayerBox, Layers, Matrix, Parallel, Series, Strip, Strips,
};
use std::path::Path;

#[track_caller]
fn check(name: &str, svg: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.svg"));
    if std::env::var_os("DROPFORGE_BLESS").is_some() {
        std::fs::write(&path, svg).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(there == svg, "{name}.svg differs from what is drawn; bless it if that is right, and look at it");
}

#[test]
fn curves() {
    let falling = |from: f64| (1..=20).map(move |epoch| (f64::from(epoch), from / f64::from(epoch)));
    let chart = Chart::new("Loss").x("epoch").whole_x().y("loss").add(Series::line("train", falling(2.0)));
    check("curves", &chart.add(Series::line("validation", falling(2.4))).svg());
}

#[test]
fn gaps_logarithms_and_names_that_are_markup() {
    let points = [(1e-5, 2.0), (1e-4, 1.0), (1e-3, f64::NAN), (1e-2, 0.5), (0.1, 80.0)];
    let chart = Chart::new("<Rate> & \"loss\"").x("learning rate").y("loss").log_x().log_y();
    check("gaps", &chart.add(Series::line("a<b", points)).add(Series::dashed("here", [(1e-2, 0.5)])).svg());
}

#[test]
fn points_and_a_diagonal() {
    let points = (0..30).map(|i| (f64::from(i) / 29.0, f64::from(i * 7 % 30) / 29.0));
    let chart = Chart::new("Prediction over target").x("target").y("prediction");
    check(
        "points",
        &chart
            .add(Series::points("samples", points))
            .add(Series::dashed("right", [(0.0, 0.0), (1.0, 1.0)]))
            .svg(),
    );
}

#[test]
fn bars() {
    let names = ["cat", "dog", "a very long name"].map(String::from);
    let chart = Chart::new("Samples per class").y("samples").x_names(names);
    check("bars", &chart.add(Series::bars("samples", [(0.0, 120.0), (1.0, 40.0), (2.0, 7.0)])).svg());
}

#[test]
fn names_that_are_too_long_to_stand_side_by_side() {
    let names = (0..10).map(|index| format!("{index}: fused(add)"));
    let chart = Chart::new("Kernels").y("ms").x("kernel").x_names(names);
    check("aslant", &chart.add(Series::bars("ms", (0..10).map(|x| (f64::from(x), f64::from(20 - x))))).svg());
}

#[test]
fn matrix() {
    let names = ["cat", "dog", "owl"].map(String::from);
    let counts = [9.0, 1.0, 0.0, 2.0, 30.0, 3.0, 0.0, 0.0, 0.0];
    check("matrix", &Matrix::new("Confusion", &names, &counts).axes("true", "predicted").svg());
}

#[test]
fn layers() {
    let layer = |path: &str, kind: &str, output: &str| LayerBox {
        path: path.into(),
        kind: kind.into(),
        output: output.into(),
        about: "no parameters".into(),
        reads: Vec::new(),
    };
    let all = vec![layer("0", "conv", "6×28×28"), layer("0.1", "relu", "6×28×28"), layer("1", "dense", "10")];
    check("layers", &Layers::new("Network", all).svg());
    let reads = [vec![], vec![0], vec![1], vec![0], vec![2, 3], vec![], vec![0, 4, 5, 9]];
    let all = reads.into_iter().enumerate();
    let all = all.map(|(index, reads)| LayerBox { reads, ..layer(&index.to_string(), "dense", "10") });
    check("branches", &Layers::new("Network", all.collect()).svg());
}

/// Nothing, too much, and what is no number are drawn as well as they can be.
#[test]
fn anything_can_be_drawn() {
    let many = (0..100_000).map(|i| (f64::from(i), f64::from(i % 1000)));
    let svg = Chart::new("").add(Series::line("", many)).svg();
    assert!(svg.len() < 40_000, "{} bytes for 100,000 points", svg.len());
    for svg in [
        Chart::new("empty").svg(),
        Chart::new("none").log_y().add(Series::line("a", [(f64::NAN, 1.0), (1.0, -1.0)])).svg(),
        Chart::new("one").add(Series::bars("a", [(3.0, 0.0)])).svg(),
        Matrix::new("empty", &[], &[]).svg(),
    ] {
        assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}

#[test]
fn parallel_coordinates() {
    let rates = [Some(1e-4), Some(1e-3), None, Some(1e-2)];
    let chart = Parallel::new("Settings and what came of them")
        .axis(Coordinate::numbers("optimizer.lr", rates, true))
        .axis(Coordinate::names("batch", [Some("128"), Some("32"), Some("64"), Some("32")]))
        .axis(Coordinate::names("optimizer.type", [Some("<sgd>"), Some("adam"), None, Some("adam")]))
        .result(Coordinate::numbers("val_loss", [Some(0.5), Some(0.2), Some(0.9), None], false), false);
    check("parallel", &chart.svg());
}

#[test]
fn histograms_over_time() {
    let strip = |x: u32| {
        let width = 0.1 + f64::from(x) / 100.0;
        Strip { x: f64::from(x), low: -width, high: width, counts: vec![1, 4, 0, 9, 4, 1] }
    };
    let empty = Strip { x: 7.0, low: 0.0, high: 0.0, counts: Vec::new() };
    let strips = (0..6).map(|x| strip(10 * x)).chain([empty]);
    check("strips", &Strips::new("conv1.weight: weights", "step", strips.collect()).svg());
    assert!(Strips::new("nothing", "step", Vec::new()).svg().ends_with("</svg>\n"));
}

#[test]
fn what_lies_in_a_memory() {
    let block = |name: &str, time, place| Block { name: name.into(), time, place };
    let blocks = vec![
        block("a & b", (0.0, 3.0), (0.0, 1.5)),
        block("c", (1.0, 5.0), (1.5, 2.0)),
        block("d", (3.0, 5.0), (0.0, 1.0)),
    ];
    check("blocks", &Blocks::new("Memory plan", "kernel", "MiB", blocks).svg());
}
