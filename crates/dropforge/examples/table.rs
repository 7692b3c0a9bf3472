//! Regression on a table of mixed columns with missing values, with R² and the mean absolute error in prices,
//! and predictions from raw rows: `cargo run --release --example table`.

use dropforge::data::{Table, TableOptions};
use dropforge::metric::{mean_absolute_error, r2};
use dropforge::prelude::*;

fn main() -> Result<()> {
    let mut csv = String::from("rooms,area,quarter,price\n");
    for i in 0..600 {
        let (rooms, area, quarter) = (1 + i % 5, 40 + i * 37 % 90, ["old", "new", "port"][i % 3]);
        let area_or_missing = if i % 10 == 7 { "NA".into() } else { area.to_string() };
        let price = 30 * rooms + 2 * area + if quarter == "port" { 50 } else { 0 };
        csv += &format!("{rooms},{area_or_missing},{quarter},{price}\n");
    }
    let (train, test) = Table::parse("houses", &csv, &TableOptions::target("price"))?.split(0.8, 1)?;
    let trainer = Trainer::new(seq![dense(32), relu(), dense(1)], mse(), Adam::new(0.01)).batch(32);
    let mut trainer = trainer.metric(r2()).metric(mean_absolute_error()).compile(&train)?;
    println!("{}", trainer.fit(&train).validate(&test).epochs(20).run()?);
    let fields = dropforge::data::Source::description(&train);
    let row = fields.fields[0].prepare_row(&[("rooms", "3"), ("quarter", "port"), ("area", "100")])?;
    let mut price = trainer.predict(Tensor::from_vec(row.clone(), [1, row.len()]))?.to_vec::<f32>()?;
    fields.fields[1].restore(&mut price);
    println!("three rooms at the port: {:.0} (340 is right)", price[0]);
    Ok(())
}
