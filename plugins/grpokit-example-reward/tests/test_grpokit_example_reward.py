from grpokit.testing import check_plugin, check_reward


def test_the_plugin_is_in_order_and_its_cases_hold() -> None:
    check_plugin("example-reward")


def test_the_contract_of_every_reward() -> None:
    check_reward("example-reward/distinct", {"answer": "4"}, settings={"n": 2})
