//! Catalogs from settings that were made up.

use super::*;

fn load(settings: &str) -> Result<Catalog, String> {
    #[derive(Deserialize)]
    struct Settings {
        catalog: Catalog,
    }
    toml::from_str::<Settings>(settings)
        .map(|s| s.catalog)
        .map_err(|e| e.to_string())
}

fn money(currency: &str, amount_minor: i64) -> Money {
    Money::new(amount_minor, Currency::parse(currency).unwrap()).unwrap()
}

const TWO_PACKS: &str = r#"
        [[catalog]]
        sku = "credits_500"
        credits = 500
        prices = [ { currency = "INR", amount_minor = 49900 }, { currency = "usd", amount_minor = 599 } ]
        expires_after_days = 365
        [[catalog]]
        sku = "team_500"
        credits = 500
        prices = [ { currency = "INR", amount_minor = 49900 }, { currency = "EUR", amount_minor = 599 } ]
    "#;

#[test]
fn a_price_is_found_by_sku_or_by_a_unique_amount() {
    let catalog = load(TWO_PACKS).unwrap();
    let sku = |sku, money| catalog.price(sku, money, 1000).map(|price| price.sku);
    let found = |name: &str| Some(name.to_owned());
    assert_eq!(
        sku(Some("team_500"), money("INR", 49900)),
        found("team_500")
    );
    assert_eq!(sku(Some("team_500"), money("INR", 49901)), None);
    assert_eq!(sku(Some("team_500"), money("USD", 599)), None);
    assert_eq!(sku(Some("nothing"), money("USD", 599)), None);
    assert_eq!(sku(None, money("USD", 599)), found("credits_500"));
    assert_eq!(sku(None, money("EUR", 599)), found("team_500"));
    assert_eq!(sku(None, money("INR", 49900)), None, "two packs cost this");
    assert_eq!(sku(None, money("JPY", 599)), None);
}

const PLANS: &str = r#"
        [[catalog]]
        sku = "pro_monthly"
        credits = 1000
        prices = [ { currency = "USD", amount_minor = 2000 } ]
        stripe_price_ids = ["price_pro", "gold-monthly"]
        plan = "pro"
        [[catalog]]
        sku = "pro_yearly"
        credits = 12000
        prices = [ { currency = "USD", amount_minor = 20000 } ]
        stripe_price_ids = ["price_pro_yearly"]
        plan = "pro"
        [[catalog]]
        sku = "pack"
        credits = 500
        prices = [ { currency = "USD", amount_minor = 2000 }, { currency = "USD", amount_minor = 599 } ]
        stripe_price_ids = ["price_pack"]
    "#;

fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|&id| id.to_owned()).collect()
}

#[test]
fn a_sku_goes_before_a_price_id_and_that_before_the_amount() {
    let catalog = load(PLANS).unwrap();
    let sold = |sku, price_ids: &[&str], by_amount, amounts: &[i64]| {
        let amounts: Vec<Money> = amounts.iter().map(|&n| money("USD", n)).collect();
        let sale = Sale {
            sku,
            stripe_price_ids: &ids(price_ids),
            by_amount,
            amounts: &amounts,
        };
        catalog.price_sale(sale, 1).map(|price| price.sku)
    };
    let found = |name: &str| Some(name.to_owned());
    assert_eq!(
        sold(Some("pack"), &["price_pro"], true, &[2000]),
        found("pack")
    );
    assert_eq!(sold(Some("nothing"), &["price_pro"], true, &[2000]), None);
    assert_eq!(
        sold(None, &["gold-monthly"], true, &[2000]),
        found("pro_monthly")
    );
    assert_eq!(
        sold(None, &["price_other", "price_pro"], true, &[2000]),
        found("pro_monthly")
    );
    // Known by its price, it must cost that.
    assert_eq!(sold(None, &["price_pro"], true, &[599]), None);
    // Of two packs, none is guessed, though only one costs this.
    assert_eq!(
        sold(None, &["price_pro", "price_pro_yearly"], true, &[2000]),
        None
    );
    assert_eq!(sold(None, &["price_other"], true, &[599]), found("pack"));
    assert_eq!(sold(None, &["price_other"], false, &[599]), None);
    // Any of the amounts, if together they fit one pack only.
    assert_eq!(sold(None, &[], true, &[1, 599]), found("pack"));
    assert_eq!(sold(None, &[], true, &[20_000, 599]), None);
    assert_eq!(sold(None, &["price_pack"], true, &[1, 2000]), found("pack"));
    assert_eq!(sold(None, &[], true, &[]), None);
}

#[test]
fn a_plan_is_found_by_the_price_id_then_by_the_sku() {
    let catalog = load(PLANS).unwrap();
    let plan = |price_ids: &[&str], sku| catalog.plan(&ids(price_ids), sku);
    assert_eq!(plan(&["price_pro_yearly"], None), Some("pro"));
    assert_eq!(plan(&["price_pack", "gold-monthly"], None), Some("pro"));
    assert_eq!(plan(&["price_pack"], None), None);
    assert_eq!(plan(&["price_other"], Some("pro_monthly")), Some("pro"));
    assert_eq!(plan(&[], Some("pack")), None);
    assert_eq!(plan(&[], None), None);
}

#[test]
fn credits_end_by_the_time_of_payment() {
    let catalog = load(TWO_PACKS).unwrap();
    let expiry = |currency, paid_at_s| {
        catalog
            .price(None, money(currency, 599), paid_at_s)
            .unwrap()
            .expires_at_s
    };
    assert_eq!(expiry("USD", 1000), Some(1000 + 365 * 86_400));
    assert_eq!(expiry("EUR", 1000), None);
    assert_eq!(expiry("USD", i64::MAX), Some(i64::MAX));
}

#[test]
fn a_catalog_that_breaks_a_rule_is_refused() {
    let pack = |sku: &str, credits: &str, prices: &str, more: &str| {
        format!("[[catalog]]\nsku = \"{sku}\"\ncredits = {credits}\nprices = [{prices}]\n{more}\n")
    };
    let price = r#"{ currency = "INR", amount_minor = 100 }"#;
    let good = pack("a", "1", price, "");
    assert!(load(&good).is_ok());
    for (bad, why) in [
        (format!("{good}{good}"), "comes twice"),
        (pack("", "1", price, ""), "must be 1 to 255 bytes"),
        (pack("a ", "1", price, ""), "must be 1 to 255 bytes"),
        (pack("a", "0", price, ""), "credits must be at least 1"),
        (pack("a", "-1", price, ""), "credits"),
        (pack("a", "1", "", ""), "needs at least one price"),
        (
            pack("a", "1", &format!("{price},{price}"), ""),
            "a price comes twice",
        ),
        (
            pack("a", "1", &price.replace("100", "0"), ""),
            "amount_minor must be at least 1",
        ),
        (
            pack("a", "1", &price.replace("100", "-1"), ""),
            "amount_minor must be at least 1",
        ),
        (
            pack("a", "1", &price.replace("INR", "rupee"), ""),
            "three letters",
        ),
        (
            pack("a", "1", price, "expires_after_days = 0"),
            "expires_after_days",
        ),
        (
            pack("a", "1", price, "expires_after_days = 36501"),
            "expires_after_days",
        ),
        (pack("a", "1", price, "expires_after = 3"), "unknown field"),
        (
            pack("a", "1", price, "stripe_price_ids = [\"\"]"),
            "a price id must be",
        ),
        (
            pack("a", "1", price, "stripe_price_ids = [\"price 1\"]"),
            "a price id must be",
        ),
        (
            pack("a", "1", price, "stripe_price_ids = [\"p\", \"p\"]"),
            "\"p\" comes twice",
        ),
        (
            ["a", "b"]
                .map(|sku| pack(sku, "1", price, "stripe_price_ids = [\"p\"]"))
                .concat(),
            "\"p\" comes twice",
        ),
        (pack("a", "1", price, "plan = \"\""), "plan must be"),
        (pack("a", "1", price, "plan = \" pro\""), "plan must be"),
    ] {
        let error = load(&bad).unwrap_err();
        assert!(error.contains(why), "{bad}\n{error}");
    }
}
