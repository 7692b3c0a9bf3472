//! `train --tui`: training on a full screen of the terminal: curves, rates, memory, where the time goes. `q` ends it,
//! saved.

use crate::output::{Outcome, count, duration};
use crate::progress::seconds_left;
use dropforge::step::Evaluation;
use dropforge::train::{Callback, Control, EpochReport, Marks, Phases};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Chart, Dataset, Gauge, GraphType, Paragraph, Row, Table};
use ratatui::{DefaultTerminal, Frame};
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

/// Colours of the curves.
const TRAINING: Color = Color::Blue;
const VALIDATION: Color = Color::LightRed;
/// And of what stands out.
const MARKED: Color = Color::Yellow;
const REDRAW: Duration = Duration::from_millis(100);
/// More points than this are not seen; then neighbours become one.
const MOST_POINTS: usize = 600;
/// Lines of what stands out, and places of it in the curve.
const MOST_NOTES: usize = 3;
const MOST_MARKED: usize = 100;
/// Fewer lines than this have no room for more than curves, fewer columns none for rates beside epochs or a whole line
/// of progress.
const FEW_LINES: u16 = 20;
const FEW_COLUMNS: u16 = 60;
/// Losses whose largest is more times the smallest than this are drawn by their logarithms.
const DECADES: f64 = 30.0;
/// Columns of the rates.
const RATES: u16 = 38;
/// Columns from which on the learning rate has a curve beside that of the loss, and those that it gets.
const WITH_RATE: u16 = 76;
const RATE: u16 = 28;

/// What is shown.
#[derive(Default)]
struct View {
    /// What is trained, on what.
    title: String,
    epochs: u64,
    epoch: u64,
    batch: usize,
    batches: usize,
    step: u64,
    samples_per_s: f64,
    phases: Phases,
    /// Seconds since the start and until the end.
    elapsed: f64,
    left: f64,
    /// Bytes of intermediate values, and of weights, optimizer and metrics.
    memory: [usize; 2],
    loss: Curve,
    validation: Curve,
    /// The learning rate, and that of the last step.
    lr: Curve,
    last_lr: Option<f64>,
    /// Step and loss where something stood out.
    marked: Vec<(f64, f64)>,
    reports: Vec<EpochReport>,
    notes: Vec<String>,
}

/// Numbers over steps, of which at most so many are kept.
#[derive(Default)]
struct Curve {
    points: Vec<(f64, f64)>,
    /// How many numbers become one point, and those that are waiting.
    each: usize,
    sum: f64,
    waiting: usize,
}

impl Curve {
    fn add(&mut self, step: u64, value: f64) {
        if !value.is_finite() {
            return;
        }
        self.each = self.each.max(1);
        self.sum += value;
        self.waiting += 1;
        if self.waiting < self.each {
            return;
        }
        self.points.push((step as f64, self.sum / self.waiting as f64));
        (self.sum, self.waiting) = (0.0, 0);
        if self.points.len() > MOST_POINTS {
            let both = |pair: &[(f64, f64)]| {
                let mean = pair.iter().map(|point| point.1).sum::<f64>() / pair.len() as f64;
                (pair[pair.len() - 1].0, mean)
            };
            self.points = self.points.chunks(2).map(both).collect();
            self.each *= 2;
        }
    }
}

/// Refuses where there is nothing to draw on, or nobody to press a key.
pub fn check() -> Outcome {
    match io::stdout().is_terminal() && io::stdin().is_terminal() {
        true => Ok(()),
        false => Err("--tui: the output is no terminal; leave it out".into()),
    }
}

/// The callback that draws.
pub struct Screen {
    terminal: Option<DefaultTerminal>,
    drawn: Option<Instant>,
    started: Instant,
    batch: usize,
    marks: Marks,
    view: View,
}

impl Screen {
    /// For a training with so many epochs of batches of so many samples.
    pub fn new(title: String, epochs: u64, batch: usize) -> Screen {
        let view = View { title, epochs, ..View::default() };
        let (terminal, drawn, started, marks) = (None, None, Instant::now(), Marks::default());
        Screen { terminal, drawn, started, batch, marks, view }
    }

    fn draw(&mut self) -> dropforge::Result<()> {
        self.drawn = Some(Instant::now());
        let view = &self.view;
        let Some(terminal) = &mut self.terminal else { return Ok(()) };
        let drawn = terminal.draw(|frame| show(frame, view));
        drawn.map(drop).map_err(|error| dropforge::Error::new(format!("--tui: cannot draw: {error}")))
    }

    fn close(&mut self) {
        if self.terminal.take().is_some() {
            ratatui::restore();
        }
    }

    fn take(&mut self, control: &Control<'_>) {
        let progress = control.progress();
        let view = &mut self.view;
        (view.epoch, view.batch, view.batches) = (progress.epoch, progress.batch, progress.batches);
        (view.step, view.samples_per_s, view.phases) =
            (progress.step, progress.samples_per_s, progress.phases);
        view.elapsed = self.started.elapsed().as_secs_f64();
        view.left = seconds_left(&progress, view.epochs, self.batch);
        view.last_lr = progress.learning_rate();
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.close();
    }
}

/// What somebody has done who wants training to end.
fn quit(event: &Event) -> Option<&'static str> {
    let Event::Key(key) = event else { return None };
    let has_control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        _ if key.kind != KeyEventKind::Press => None,
        KeyCode::Char('c') if has_control => Some("Ctrl-C was pressed"),
        KeyCode::Char('q' | 'Q') => Some("q was pressed"),
        _ => None,
    }
}

impl Callback for Screen {
    fn name(&self) -> String {
        "tui".into()
    }

    fn only_looks_on(&self) -> bool {
        true
    }

    fn on_fit_start(&mut self, control: &mut Control<'_>) -> dropforge::Result<()> {
        let failed =
            |error: io::Error| dropforge::Error::new(format!("--tui: the terminal cannot be used: {error}"));
        self.terminal = Some(ratatui::try_init().map_err(failed)?);
        let network = control.step().network();
        let arena = network.compilations().iter().map(|one| one.peak_bytes).max().unwrap_or(0);
        let states = control.step().states().iter().map(|state| state.ty().bytes()).sum();
        self.view.memory = [arena, states];
        self.view.reports = control.history().to_vec();
        self.take(control);
        self.draw()
    }

    fn on_step_end(&mut self, control: &mut Control<'_>) -> dropforge::Result<()> {
        let progress = control.progress();
        self.view.loss.add(progress.step, progress.last_loss);
        if let Some(lr) = progress.learning_rate() {
            self.view.lr.add(progress.step, lr);
        }
        if let Some(mark) = self.marks.look(&progress) {
            if progress.last_loss.is_finite() {
                self.view.marked.push((progress.step as f64, progress.last_loss));
                let old = self.view.marked.len().saturating_sub(MOST_MARKED);
                self.view.marked.drain(..old);
            }
            self.view.notes.push(mark.to_string());
            let old = self.view.notes.len().saturating_sub(MOST_NOTES);
            self.view.notes.drain(..old);
        }
        if self.drawn.is_some_and(|at| at.elapsed() < REDRAW) {
            return Ok(());
        }
        self.take(control);
        self.draw()?;
        while event::poll(Duration::ZERO).unwrap_or(false) {
            if let Some(why) = event::read().ok().and_then(|event| quit(&event)) {
                control.stop(why);
            }
        }
        Ok(())
    }

    fn on_validation_end(
        &mut self,
        measured: &Evaluation,
        control: &mut Control<'_>,
    ) -> dropforge::Result<()> {
        self.view.validation.add(control.progress().step, measured.loss);
        Ok(())
    }

    fn on_epoch_end(&mut self, report: &EpochReport, control: &mut Control<'_>) -> dropforge::Result<()> {
        self.view.reports.push(report.clone());
        self.take(control);
        self.draw()
    }

    fn on_error(&mut self, _: &dropforge::Error) {
        self.close();
    }

    fn on_fit_end(&mut self, _: &mut Control<'_>) -> dropforge::Result<()> {
        self.close();
        Ok(())
    }
}

fn show(frame: &mut Frame<'_>, view: &View) {
    let notes = view.notes.len() as u16;
    let (is_low, is_narrow) = (frame.area().height < FEW_LINES, frame.area().width < FEW_COLUMNS);
    let rows = [
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Length(if is_low { 0 } else { 9 }),
        Constraint::Length(notes),
        Constraint::Length(1),
    ];
    let [title, bar, curves, below, marks, keys] = Layout::vertical(rows).areas(frame.area());
    let bold = Style::new().add_modifier(Modifier::BOLD);
    frame.render_widget(Paragraph::new(view.title.as_str()).style(bold), title);
    let part = view.batch as f64 / view.batches.max(1) as f64;
    let left =
        if view.samples_per_s >= 1.0 { format!(", {} left", duration(view.left)) } else { String::new() };
    let epoch = format!("epoch {}/{}", view.epoch.min(view.epochs), view.epochs);
    let label = match is_narrow {
        true => format!("{epoch}{left}"),
        false => format!("{epoch}, step {}, {}{left}", count(view.step), duration(view.elapsed)),
    };
    let gauge =
        Gauge::default().ratio(part.clamp(0.0, 1.0)).label(label).gauge_style(Style::new().fg(Color::Blue));
    frame.render_widget(gauge, bar);
    show_curves(frame, curves, view);
    if !is_low {
        let both = [Constraint::Length(RATES), Constraint::Min(if is_narrow { 0 } else { 22 })];
        let [rates, epochs] = Layout::horizontal(both).areas(below);
        show_rates(frame, rates, view);
        if !is_narrow {
            show_epochs(frame, epochs, view);
        }
    }
    let lines: Vec<Line<'_>> = view.notes.iter().map(|note| Line::from(note.as_str())).collect();
    frame.render_widget(Paragraph::new(lines).style(Style::new().fg(MARKED)), marks);
    let help = Paragraph::new(match is_narrow {
        true => "q ends after this step, saved",
        false => "q ends after this step; all is saved, and --resume goes on",
    });
    frame.render_widget(help.alignment(Alignment::Right), keys);
}

fn show_curves(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let has_rate = area.width >= WITH_RATE && !view.lr.points.is_empty();
    let parts = [Constraint::Min(0), Constraint::Length(if has_rate { RATE } else { 0 })];
    let [losses, rate] = Layout::horizontal(parts).areas(area);
    show_losses(frame, losses, view);
    if has_rate {
        let form = |lr: f64| format!("{lr:.1e}");
        show_chart(frame, rate, Line::from("learning rate"), vec![line(TRAINING, &view.lr.points)], &form);
    }
}

fn show_losses(frame: &mut Frame<'_>, area: Rect, view: &View) {
    // Losses that span decades are drawn by their logarithms: what happens late would be flat.
    let [low, high] = ends([&view.loss.points[..], &view.validation.points], |point| point.1);
    let is_log = low > 0.0 && high > DECADES * low;
    let placed = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
        points.iter().map(|&(step, loss)| (step, if is_log { loss.log10() } else { loss })).collect()
    };
    let (training, validation) = (placed(&view.loss.points), placed(&view.validation.points));
    // One number of many that have become one point: it lies on the chart all the same.
    let marked = view.marked.iter().map(|&(step, loss)| (step, loss.clamp(low, high.max(low))));
    let marked = placed(&marked.collect::<Vec<_>>());
    let sets = vec![
        line(TRAINING, &training),
        line(VALIDATION, &validation),
        points(VALIDATION, &validation),
        points(MARKED, &marked),
    ];
    // What is which stands in the title: a legend would lie over the curves, and is left out where there is little
    // room.
    let mut title = vec![
        Span::raw("loss of "),
        Span::styled("training", Style::new().fg(TRAINING)),
        Span::raw(" and "),
        Span::styled("validation •", Style::new().fg(VALIDATION)),
    ];
    if !marked.is_empty() {
        title.push(Span::styled(", stood out •", Style::new().fg(MARKED)));
    }
    let loss = |at: f64| format!("{:.3}", if is_log { 10f64.powf(at) } else { at });
    show_chart(frame, area, Line::from(title), sets, &loss);
}

/// The least and the largest of some numbers, apart from each other.
fn ends<'a>(sets: impl IntoIterator<Item = &'a [(f64, f64)]>, of: fn(&(f64, f64)) -> f64) -> [f64; 2] {
    let all = sets.into_iter().flatten().map(of);
    let (low, high) = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), x| (l.min(x), h.max(x)));
    match low < high {
        true => [low, high],
        // Something on both sides of the one number that there is.
        false if low.is_finite() => {
            let room = if low == 0.0 { 0.5 } else { 0.5 * low.abs().min(1.0) };
            [low - room, low + room]
        }
        false => [0.0, 1.0],
    }
}

fn show_chart(
    frame: &mut Frame<'_>,
    area: Rect,
    title: Line<'_>,
    sets: Vec<(&[(f64, f64)], Dataset<'_>)>,
    form: &dyn Fn(f64) -> String,
) {
    let bounds = |of| ends(sets.iter().map(|(points, _)| *points), of);
    let (x, y) = (bounds(|point| point.0), bounds(|point| point.1));
    let written = |ends: [f64; 2], form: &dyn Fn(f64) -> String| {
        [ends[0], (ends[0] + ends[1]) / 2.0, ends[1]].map(form).to_vec()
    };
    let steps = written(x, &|step| format!("{step:.0}"));
    let chart = Chart::new(sets.into_iter().map(|(_, set)| set).collect())
        .block(Block::bordered().title(title))
        .legend_position(None)
        .x_axis(Axis::default().bounds(x).labels(steps))
        .y_axis(Axis::default().bounds(y).labels(written(y, form)));
    frame.render_widget(chart, area);
}

fn line(colour: Color, points: &[(f64, f64)]) -> (&[(f64, f64)], Dataset<'_>) {
    let data = Dataset::default().marker(Marker::Braille).graph_type(GraphType::Line);
    (points, data.style(Style::new().fg(colour)).data(points))
}

fn points(colour: Color, points: &[(f64, f64)]) -> (&[(f64, f64)], Dataset<'_>) {
    let data = Dataset::default().marker(Marker::Dot).graph_type(GraphType::Scatter);
    (points, data.style(Style::new().fg(colour)).data(points))
}

fn show_rates(frame: &mut Frame<'_>, area: Rect, view: &View) {
    let Phases { steps, data, step, callbacks } = view.phases;
    let per_step = |seconds: f64| 1e3 * seconds / steps.max(1) as f64;
    let part = |seconds: f64| 100.0 * seconds / view.phases.seconds().max(1e-9);
    let phase = |name: &str, seconds: f64| {
        format!("{name:<17}{:>9.3} ms {:>4.0} %", per_step(seconds), part(seconds))
    };
    let size = |bytes: usize| format!("{:>8.1} MiB", bytes as f64 / f64::from(1 << 20));
    let lr = view.last_lr.filter(|lr| lr.is_finite()).map_or("–".into(), |lr| format!("{lr:.2e}"));
    let lines = [
        format!("{:<17}{:>9} /s", "samples", count(view.samples_per_s as u64)),
        format!("{:<17}{lr:>9}", "learning rate"),
        phase("waiting for data", data),
        phase("computing", step),
        phase("callbacks", callbacks),
        format!("{:<17}{}", "step's memory", size(view.memory[0])),
        format!("{:<17}{}", "weights and such", size(view.memory[1])),
    ];
    let lines: Vec<Line<'_>> = lines.into_iter().map(Line::from).collect();
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title("rates and memory")), area);
}

fn show_epochs(frame: &mut Frame<'_>, area: Rect, view: &View) {
    // The first metric, of the validation where there is one: its name heads the column.
    let metric = |report: &EpochReport| {
        let values = report.validation.as_ref().map_or(&report.metrics, |measured| &measured.metrics);
        let value = values.shown().next()?;
        Some((value.name.clone(), value.to_string()[value.name.len()..].trim().to_string()))
    };
    let name = view.reports.iter().rev().find_map(metric).map_or_else(String::new, |(name, _)| name);
    let has_time = area.width >= RATES + 14;
    let row = |report: &EpochReport| {
        let mut cells = vec![
            report.epoch.to_string(),
            format!("{:.4}", report.loss),
            report.validation.as_ref().map_or_else(String::new, |measured| format!("{:.4}", measured.loss)),
            metric(report).map_or_else(String::new, |(_, value)| value),
        ];
        cells.extend(has_time.then(|| duration(report.seconds)));
        Row::new(cells)
    };
    let room = area.height.saturating_sub(3) as usize;
    let rows: Vec<Row<'_>> = view.reports.iter().rev().take(room).map(row).collect();
    let mut widths =
        vec![Constraint::Length(5), Constraint::Length(9), Constraint::Length(10), Constraint::Length(14)];
    let mut head = vec!["epoch", "training", "validation", &name];
    if has_time {
        widths.push(Constraint::Length(10));
        head.push("time");
    }
    let head = Row::new(head);
    let table = Table::new(rows, widths).header(head.style(Style::new().add_modifier(Modifier::BOLD)));
    frame.render_widget(table.block(Block::bordered().title("epochs")), area);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::KeyEvent;

    #[test]
    fn everything_is_on_the_screen_however_small_it_is() {
        let mut view = View { title: "lenet on digits".into(), epochs: 5, ..View::default() };
        (view.epoch, view.batch, view.batches, view.step) = (2, 30, 60, 90);
        (view.samples_per_s, view.elapsed, view.left) = (12_345.0, 61.0, 120.0);
        view.phases = Phases { steps: 90, data: 0.09, step: 0.81, callbacks: 0.0 };
        (0..5000).for_each(|step| view.loss.add(step, 1.0 / (1.0 + step as f64)));
        assert!(view.loss.points.len() <= MOST_POINTS && view.loss.points.last().unwrap().0 > 4900.0);
        view.notes.push("step 7: the loss is far outside".into());
        view.marked.push((7.0, 0.5));
        view.validation.add(2000, 0.25);
        (0..5000).for_each(|step| view.lr.add(step, 0.02 * f64::from(step as u32 + 1)));
        view.last_lr = Some(0.001);
        view.reports.push(EpochReport {
            epoch: 1,
            step: 60,
            lr: 0.1,
            loss: 0.25,
            samples_per_s: 1e4,
            seconds: 2.0,
            metrics: dropforge::metric::Figures::default(),
            validation: None,
        });
        let large = [
            "epoch 2/5, step 90",
            "12,345 /s",
            "waiting for data",
            "10 %",
            "0.2500",
            "time",
            "--resume",
            "┌learning rate",
            "1.0e2",
            "1.00e-3",
            "validation •, stood out •",
        ];
        let usual =
            ["epoch 2/5, step 90", "12,345 /s", "0.2500", "validation ", "┌learning rate", "--resume"];
        let small = ["epoch 2/5, 2 min 00 s left", "q ends after this step"];
        let sizes: [(u16, u16, &[&str]); 5] =
            [(100, 30, &large), (80, 24, &usual), (40, 10, &small), (10, 3, &[]), (1, 1, &[])];
        for (width, height, parts) in sizes {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| show(frame, &view)).unwrap();
            let screen = terminal.backend().to_string();
            // A point of the validation and a mark, beside those of the title.
            let points = |colour| {
                terminal
                    .backend()
                    .buffer()
                    .content()
                    .iter()
                    .filter(move |cell| cell.fg == colour && cell.symbol() == "•")
            };
            if height >= FEW_LINES {
                assert!(points(VALIDATION).count() >= 2 && points(MARKED).count() >= 2, "{screen}");
            }
            let always: &[&str] =
                if parts.is_empty() { &[] } else { &["lenet on digits", "step 7", "loss of training"] };
            for part in parts.iter().chain(always) {
                assert!(screen.contains(part), "{part} is missing in {width} by {height}\n{screen}");
            }
        }
    }

    #[test]
    fn q_and_control_c_end_it() {
        let key = |code, modifiers| Event::Key(KeyEvent::new(code, modifiers));
        assert_eq!(quit(&key(KeyCode::Char('q'), KeyModifiers::NONE)), Some("q was pressed"));
        assert_eq!(quit(&key(KeyCode::Char('c'), KeyModifiers::CONTROL)), Some("Ctrl-C was pressed"));
        assert_eq!(quit(&key(KeyCode::Char('c'), KeyModifiers::NONE)), None);
        assert_eq!(quit(&Event::FocusGained), None);
    }
}
