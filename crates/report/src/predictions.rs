//! What a network predicts for samples that it was not trained on.

use dropforge::run::Trained;
use dropforge::train::IntoSource;
use dropforge::{DType, Error, Result};

/// Most classes of which probabilities are kept.
const MOST_CLASSES: usize = 512;
/// How many of the worst mistakes are kept.
const WORST: usize = 12;

/// What a network predicts for samples, and what it should.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    /// Names of the classes; empty where numbers are predicted.
    pub classes: Vec<String>,
    /// Predictions beside targets.
    pub outcomes: Outcomes,
    /// What the network was most wrong about, the worst first; pictures only.
    pub worst: Vec<Mistake>,
}

/// Predictions beside targets.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcomes {
    /// Probabilities of the classes, sample after sample, and the true classes.
    Classes {
        /// As many for each sample as there are classes.
        probabilities: Vec<f32>,
        /// The true class of each sample.
        truth: Vec<usize>,
    },
    /// Numbers beside the right ones, sample after sample.
    Numbers {
        /// What the network gives.
        predictions: Vec<f32>,
        /// What it should give.
        targets: Vec<f32>,
    },
}

/// A picture that was taken for something else.
#[derive(Clone, Debug, PartialEq)]
pub struct Mistake {
    /// Channels, height and width.
    pub shape: [usize; 3],
    /// Brightness from 0 to 1, channel by channel.
    pub pixels: Vec<f32>,
    /// The true class.
    pub truth: usize,
    /// The class that was said.
    pub said: usize,
    /// How probable the network took that to be.
    pub probability: f32,
}

impl Predictions {
    /// Has a trained network predict these samples.
    ///
    /// # Errors
    /// The samples do not fit the run or cannot be read, or what the network gives is neither a score for each class of
    /// a sample nor numbers like the targets.
    pub fn of(trained: &Trained, samples: &impl IntoSource) -> Result<Predictions> {
        // Runs of earlier versions say it by their configuration only.
        let loss = trained.config().and_then(|config| config.loss.as_ref());
        let loss = loss.map(|loss| loss.build()).transpose()?;
        let probability = |output: f32| {
            trained.probability(output).or_else(|| loss.as_ref().and_then(|loss| loss.probability(output)))
        };
        let mut classes = trained.classes().to_vec();
        let mut probabilities = Vec::new();
        let mut truth = Vec::new();
        let (mut numbers, mut targets) = (Vec::new(), Vec::new());
        let mut worst: Vec<Mistake> = Vec::new();
        trained.each_batch(samples, 256, |predicted| {
            let scores = predicted.scores.to_array()?;
            let shape = predicted.scores.shape().to_vec();
            if !trained.classes().is_empty() {
                let &[_, width] = shape.as_slice() else {
                    return Err(Error::new(
                        "the network predicts several positions of a sample; charts of predictions show one class of each",
                    ));
                };
                let width = trained.classes().len().max(width);
                if width > MOST_CLASSES {
                    return Err(Error::new(format!("there are {width} classes, more than {MOST_CLASSES}")));
                }
                let all: Vec<f32> =
                    trained.probabilities_of(predicted.scores)?.into_iter().flatten().collect();
                let true_classes = predicted.targets.to_vec::<i32>()?;
                let own: Vec<usize> = true_classes.iter().map(|&class| class.max(0) as usize).collect();
                for (sample, (&truth, row)) in own.iter().zip(all.chunks(width.max(1))).enumerate() {
                    keep_worst(&mut worst, trained, predicted.inputs, sample, row, truth)?;
                }
                probabilities.extend(all);
                truth.extend(own);
            } else {
                let given = scores.as_f32().ok_or_else(|| Error::new("the network gives no f32"))?;
                let wanted = predicted.targets.cast(DType::F32).to_vec::<f32>()?;
                if given.len() != wanted.len() {
                    return Err(Error::new(
                        "what the network gives has another shape than the targets, as for the tokens of a text; charts of \
                         predictions show one class of a sample, or its numbers",
                    ));
                }
                let start = numbers.len();
                numbers.extend_from_slice(given);
                targets.extend(wanted);
                // In the units of the data.
                trained.restore(&mut numbers[start..]);
                trained.restore(&mut targets[start..]);
            }
            Ok(())
        })?;
        let yes: Option<Vec<f32>> = numbers.iter().map(|&output| probability(output)).collect();
        let outcomes = if let Some(yes) = yes.filter(|_| classes.is_empty() && !numbers.is_empty()) {
            classes = ["no", "yes"].map(String::from).to_vec();
            Outcomes::Classes {
                probabilities: yes.into_iter().flat_map(|yes| [1.0 - yes, yes]).collect(),
                truth: targets.iter().map(|&target| usize::from(target > 0.5)).collect(),
            }
        } else if classes.is_empty() {
            Outcomes::Numbers { predictions: numbers, targets }
        } else {
            Outcomes::Classes { probabilities, truth }
        };
        Ok(Predictions { classes, outcomes, worst })
    }
}

/// The class with the highest probability, and that.
pub(crate) fn best(probabilities: &[f32]) -> (usize, f32) {
    probabilities.iter().copied().enumerate().fold((0, f32::NEG_INFINITY), |best, (class, probability)| {
        if probability > best.1 { (class, probability) } else { best }
    })
}

/// Keeps a sample if it is a picture and among the worst mistakes so far.
fn keep_worst(
    worst: &mut Vec<Mistake>,
    trained: &Trained,
    inputs: &dropforge::Array,
    sample: usize,
    probabilities: &[f32],
    truth: usize,
) -> Result<()> {
    let (said, probability) = best(probabilities);
    let full = worst.len() >= WORST && worst.last().is_some_and(|last| last.probability >= probability);
    let &[_, channels, height, width] = inputs.shape().iter().as_slice() else { return Ok(()) };
    if said == truth || full || ![1, 3].contains(&channels) || height * width > 128 * 128 {
        return Ok(());
    }
    let Some(all) = inputs.as_f32() else { return Ok(()) };
    let plane = height * width;
    let pixels = trained.inputs().brightness(&all[sample * channels * plane..][..channels * plane]);
    let place = worst.partition_point(|mistake| mistake.probability >= probability);
    worst.insert(place, Mistake { shape: [channels, height, width], pixels, truth, said, probability });
    worst.truncate(WORST);
    Ok(())
}
