//! What a network predicts for samples that it was not trained on.

use dropforge::run::{Predicted, Trained};
use dropforge::train::IntoSource;
use dropforge::{DType, Error, Result};

/// Most classes of which probabilities are kept.
const MOST_CLASSES: usize = 512;
/// How many of the worst mistakes are kept.
const WORST: usize = 12;
/// Most pixels of a picture that is shown.
const MOST_PIXELS: usize = 128 * 128;
/// About how many pixels of each picture are compared one by one.
const PIXELS_COMPARED: usize = 64;

/// What a network predicts for samples, and what it should.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    /// Names of the classes; empty where numbers are predicted.
    pub classes: Vec<String>,
    /// Predictions beside targets.
    pub outcomes: Outcomes,
    /// What the network was most wrong about, the worst first; pictures only.
    pub worst: Vec<Mistake>,
    /// Where pictures become pictures, those that differ most from what they should be, the worst first.
    pub pictures: Vec<Remade>,
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

/// A picture that a network made of another one.
#[derive(Clone, Debug, PartialEq)]
pub struct Remade {
    /// Channels, height and width of all of them.
    pub shape: [usize; 3],
    /// What the network was given: brightness from 0 to 1, channel by channel.
    pub input: Vec<f32>,
    /// What it made of that.
    pub output: Vec<f32>,
    /// What it should have made; `None` where that is the input.
    pub target: Option<Vec<f32>>,
    /// The mean of the squared differences of the output from what it should be.
    pub difference: f64,
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
        let mut pictures: Vec<Remade> = Vec::new();
        trained.each_batch(samples, 256, |predicted| {
            let scores = predicted.scores.to_array()?;
            let shape = predicted.scores.shape().to_vec();
            if let Some(Remakes { shape, wanted }) = remakes(predicted, probability(0.0).is_some())? {
                let pixels = shape.iter().product::<usize>();
                let made = predicted.scores.to_vec::<f32>()?;
                let inputs = predicted.inputs.to_f32();
                let inputs = inputs.ok_or_else(|| Error::new("the inputs are no numbers"))?;
                let compared = pixels.div_ceil(PIXELS_COMPARED).max(1);
                for sample in 0..predicted.samples {
                    let own = sample * pixels..(sample + 1) * pixels;
                    let (input, output) = (&inputs[own.clone()], &made[own.clone()]);
                    let target = wanted.as_ref().map(|wanted| &wanted[own]);
                    let picture = remade(trained, shape, input, output, target, &probability);
                    numbers.extend(picture.output.iter().step_by(compared));
                    targets.extend(picture.right().iter().step_by(compared));
                    keep_picture(&mut pictures, picture);
                }
            } else if !trained.classes().is_empty() {
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
        if !pictures.is_empty() {
            // Whatever the data call their samples: pixels are compared.
            let outcomes = Outcomes::Numbers { predictions: numbers, targets };
            return Ok(Predictions { classes: Vec::new(), outcomes, worst, pictures });
        }
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
        Ok(Predictions { classes, outcomes, worst, pictures })
    }
}

/// How a network makes pictures like those that it is given.
struct Remakes {
    /// Channels, height and width.
    shape: [usize; 3],
    /// The pictures that it should give; `None` where these are its inputs, whatever targets the data have beside them.
    wanted: Option<Vec<f32>>,
}

/// `None` where what the network gives are no pictures but say something of each pixel: scores of its classes, or
/// `yes`, how probable a yes is.
fn remakes(predicted: &Predicted<'_>, yes: bool) -> Result<Option<Remakes>> {
    let given = predicted.inputs.shape().to_vec();
    let &[samples, channels, height, width] = given.as_slice() else { return Ok(None) };
    let shape = [channels, height, width];
    let alike = given == predicted.scores.shape().to_vec() && predicted.scores.dtype() == DType::F32;
    if !alike || !is_shown(shape) {
        return Ok(None);
    }
    let (targets, inputs) = (predicted.targets.to_array()?, predicted.inputs);
    let (numbers, elements) = (targets.to_f32(), targets.shape().elements());
    let is_other = || numbers.is_some() && numbers != inputs.to_f32();
    let answers = yes && elements == inputs.shape().elements() && is_other();
    let a_class_of_each_pixel = targets.shape() != inputs.shape()
        && targets.shape().rank() > 2
        && elements == samples * height * width
        && matches!(targets.ty().dtype, DType::I32 | DType::U8);
    if answers || a_class_of_each_pixel {
        return Ok(None);
    }
    let wanted = targets.shape() == inputs.shape() && is_other();
    Ok(Some(Remakes { shape, wanted: numbers.filter(|_| wanted) }))
}

fn is_shown([channels, height, width]: [usize; 3]) -> bool {
    [1, 3].contains(&channels) && height * width <= MOST_PIXELS
}

impl Remade {
    /// What it should have made.
    fn right(&self) -> &[f32] {
        self.target.as_ref().unwrap_or(&self.input)
    }
}

/// A picture and what was made of it, all as brightness.
fn remade(
    trained: &Trained,
    shape: [usize; 3],
    input: &[f32],
    output: &[f32],
    target: Option<&[f32]>,
    probability: &impl Fn(f32) -> Option<f32>,
) -> Remade {
    let said: Option<Vec<f32>> = output.iter().map(|&output| probability(output)).collect();
    // What is learned from other pictures has their units, else those of the inputs.
    let brightness = |numbers: &[f32]| match target {
        None => trained.inputs().brightness(numbers),
        Some(_) => {
            let mut numbers = numbers.to_vec();
            trained.restore(&mut numbers);
            numbers
        }
    };
    let output = said.unwrap_or_else(|| brightness(output));
    let (input, target) = (trained.inputs().brightness(input), target.map(brightness));
    let mut picture = Remade { shape, input, output, target, difference: 0.0 };
    let squares = picture.output.iter().zip(picture.right());
    let squares = squares.map(|(made, right)| f64::from(made - right).powi(2));
    picture.difference = squares.sum::<f64>() / picture.output.len().max(1) as f64;
    picture
}

/// Keeps a picture if it is among those that differ most so far.
fn keep_picture(pictures: &mut Vec<Remade>, picture: Remade) {
    let difference = picture.difference;
    let place = pictures.partition_point(|kept| kept.difference >= difference);
    if difference.is_finite() && place < WORST {
        pictures.insert(place, picture);
        pictures.truncate(WORST);
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
    if said == truth || full || !is_shown([channels, height, width]) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use dropforge::data::{Dataset, Description, ElementType, Field, Values};
    use dropforge::loss::bce_with_logits;
    use dropforge::prelude::*;

    /// What is charted of a network of one layer that makes as many channels as it is given, of two pictures of 4 by 4.
    fn predicted(loss: impl Loss + 'static, x: &[f32], target: (&[usize], Values)) -> Result<Predictions> {
        static NUMBER: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let run = std::env::temp_dir().join(format!("dropforge-remade-{}-{number}", std::process::id()));
        let channels = x.len() / 32;
        let ((shape, y), input) = (target, Field::numbers("input", ElementType::F32, &[channels, 4, 4]));
        let description = Description::new("pictures").with(input);
        let data = Dataset::new(
            description.with(Field::numbers("target", y.dtype(), shape)),
            vec![Values::F32(x.into()), y],
        )?;
        let mut trainer = Trainer::new(conv(channels, 1), loss, Sgd::new(0.1)).batch(2).compile(&data)?;
        trainer.epoch(&data)?;
        trainer.save(&run)?;
        let trained = Trained::open(&run, &Runtime::shared()?)?;
        let predictions = Predictions::of(&trained, &data);
        std::fs::remove_dir_all(run).unwrap();
        predictions
    }

    #[test]
    fn what_is_said_of_each_pixel_is_no_picture() {
        let colours: Vec<f32> = (0..96).map(|n| n as f32 / 96.0).collect();
        let classes = Values::I32((0..32).map(|n| n % 3).collect());
        let error = predicted(cross_entropy(), &colours, (&[4, 4], classes)).unwrap_err().to_string();
        assert!(error.contains("one class of a sample"), "{error}");
        let x: Vec<f32> = (0..32).map(|n| n as f32 / 32.0).collect();
        let mask = Values::F32((0..32).map(|n| (n % 2) as f32).collect());
        let shape = [1, 4, 4];
        let said = predicted(bce_with_logits(), &x, (&shape, mask.clone())).unwrap();
        assert_eq!((said.classes.len(), said.pictures.len()), (2, 0));
        // Its own input, by the same loss: brightness beside brightness.
        let made = predicted(bce_with_logits(), &x, (&shape, Values::F32(x.clone()))).unwrap();
        let Outcomes::Numbers { predictions, targets } = made.outcomes else { panic!() };
        assert_eq!((made.pictures.len(), targets), (2, x.clone()));
        let first = made.pictures.iter().find(|picture| picture.input[0] == 0.0).unwrap();
        assert_eq!(first.output, predictions[..16]);
        // Other pictures, in their own units.
        assert_eq!(predicted(mse(), &x, (&shape, mask)).unwrap().pictures.len(), 2);
    }
}
