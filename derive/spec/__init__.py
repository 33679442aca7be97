"""The spec language: symbols, laws, rules, `Model`, and its lowering to trees."""
