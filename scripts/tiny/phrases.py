"""How people ask: phrases with {} for each value, one tuple (English, Chinese) a kind of request."""


def _lines(text: str) -> list[str]:
    """Return the phrases of a text, one a line."""
    return [line.strip() for line in text.strip().splitlines()]


ONE_CITY = {
    "get_weather": (
        _lines("""
            What is the weather in {}?
            How is the weather in {} today?
            Weather in {}?
            Tell me the weather in {}.
            Is it raining in {}?
            Do I need an umbrella in {}?
            I am in {}. How is the weather?
            Please check the weather for {}.
            What's the weather like in {}?
            How warm is it in {} now?
        """),
        _lines("""
            {}的天气怎么样？
            {}今天天气如何？
            请问{}天气怎么样？
            查一下{}的天气。
            {}下雨了吗？
            我在{}，今天天气怎么样？
            帮我看看{}天气。
            {}今天热吗？
        """),
    ),
    "realtime_aqi": (
        _lines("""
            What is the air quality in {}?
            How is the air in {}?
            AQI of {}?
            Is the air in {} clean today?
            Tell me the air quality index of {}.
            Can I go running in {}? How is the air?
        """),
        _lines("""
            {}的空气质量怎么样？
            {}空气好吗？
            请问{}今天的空气质量如何？
            查询{}的实时空气质量。
            {}今天的AQI是多少？
            {}的空气干净吗？
        """),
    ),
}
TWO_CITIES = {
    "get_weather": (
        _lines("""
            What is the weather in {} and {}?
            Compare the weather in {} and {}.
            Is it warmer in {} or {}?
            How is the weather in {} and {} today?
            Weather in {} and in {}?
            Which is sunnier, {} or {}?
        """),
        _lines("""
            {}和{}的天气怎么样？
            比较一下{}和{}的天气。
            {}和{}哪个更热？
            请问{}和{}今天天气如何？
        """),
    ),
    "realtime_aqi": (
        _lines("""
            What is the air quality in {} and {}?
            Is the air better in {} or {}?
            Compare the air in {} and {}.
        """),
        _lines("""
            {}和{}的空气质量怎么样？
            帮我查询{}和{}的实时空气质量。
            {}和{}今天的天气情况
            {}和{}哪里空气更好？
        """),
    ),
}
BOTH = (
    _lines("""
        What are the weather and the air quality in {}?
        Tell me the weather and the air quality in {}.
    """),
    _lines("""
        {}的天气和空气质量怎么样？
        请查一下{}的天气和空气质量。
    """),
)
ONE_SUM = {
    "add": (
        _lines("""
            What is {} plus {}?
            Add {} and {}.
            {} + {}
            Sum of {} and {}?
            How much is {} plus {}?
            Calculate {} + {}.
            What is {} + {}?
        """),
        _lines("""
            {}加{}等于多少？
            计算{}加{}。
            {}加上{}是多少？
            {}和{}的和是多少？
        """),
    ),
    "multiply": (
        _lines("""
            What is {} times {}?
            Multiply {} by {}.
            {} * {}
            Product of {} and {}?
            How much is {} times {}?
            Calculate {} * {}.
            What is {} * {}?
        """),
        _lines("""
            {}乘以{}等于多少？
            计算{}乘{}。
            {}乘{}是多少？
            {}和{}的积是多少？
        """),
    ),
}
TWO_SUMS = (
    _lines("""
        What is {} plus {}, and what is {} times {}?
        Add {} and {}, then multiply {} by {}.
    """),
    _lines("""
        {}加{}等于多少？{}乘以{}呢？
        先计算{}加{}，再计算{}乘{}。
    """),
)
CURRENCY = (
    _lines("""
        Convert {} {} to {}.
        How much is {} {} in {}?
        {} {} in {}?
        I have {} {}. How much is that in {}?
        Change {} {} into {}, please.
    """),
    _lines("""
        {}{}等于多少{}？
        把{}{}换成{}。
        {}{}可以换多少{}？
        我有{}{}，能换多少{}？
    """),
)
REMINDER = (
    _lines("""
        Remind me at {} to {}.
        Set a reminder at {} to {}.
        At {} remind me to {}.
        Please remind me at {} to {}.
    """),
    _lines("""
        {}提醒我{}。
        请在{}提醒我{}。
        设置一个{}的提醒：{}。
        帮我设一个{}的提醒，{}。
    """),
)
