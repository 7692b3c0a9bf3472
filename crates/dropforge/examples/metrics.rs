//! The confusion matrix, precision and recall of each class, and a ROC curve as a picture, `roc.svg` in the folder for
//! temporary files: `cargo run --release --example metrics`.

use dropforge::metric::{Average::PerClass, confusion_matrix, precision, recall, roc_curve};
use dropforge::plot::{Chart, Series};
use dropforge::prelude::*;

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let (train, test) = datasets::digits(3_000, 1_000, 1);
    let net = seq![flatten(), dense(32), relu(), dense(10)];
    let trainer = Trainer::new(net, cross_entropy(), Adam::new(3e-3)).metric(confusion_matrix());
    let trainer = trainer.metric(precision().average(PerClass)).metric(recall().average(PerClass));
    let mut trainer = trainer.compile(&train)?;
    trainer.fit(&train).epochs(3).run()?;
    trainer.evaluate(&test)?.metrics.iter().for_each(|value| println!("{value}"));
    let (scores, classes) = trainer.predict_all(&test)?;
    let is_three: Vec<bool> = classes.to_vec::<i32>()?.iter().map(|&class| class == 3).collect();
    let curve = roc_curve(&scores.softmax(1).at(1, 3).to_vec::<f32>()?, &is_three);
    let curve = curve.iter().map(|point| (point.false_positive_rate, point.true_positive_rate));
    let picture = Chart::new("Is it a three?").x("false positive rate").y("true positive rate");
    Ok(std::fs::write(std::env::temp_dir().join("roc.svg"), picture.add(Series::line("three", curve)).svg())?)
}
