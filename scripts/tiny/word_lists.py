"""Word lists: cities, names, errands and currencies, each a tuple (English, Chinese)."""


def _words(text: str) -> list[str]:
    """Return the words of a text."""
    return text.split()


CITIES = (
    _words("""
        Paris London Berlin Madrid Rome Vienna Prague Lisbon Dublin Oslo Athens Warsaw Budapest Helsinki Brussels
        Geneva Zurich Munich Hamburg Milan Naples Venice Florence Seville Porto Lyon Nice Bordeaux Krakow Riga
        Vilnius Tallinn Moscow Kyiv Istanbul Ankara Cairo Tunis Lagos Nairobi Accra Dakar Delhi Mumbai Chennai
        Kolkata Karachi Lahore Dhaka Bangkok Hanoi Manila Jakarta Tokyo Osaka Kyoto Nagoya Seoul Busan Taipei
        Singapore Sydney Melbourne Perth Brisbane Auckland Boston Chicago Denver Houston Dallas Austin Seattle
        Portland Miami Atlanta Detroit Toronto Montreal Vancouver Ottawa Calgary Lima Bogota Quito Santiago Havana
        Caracas Montevideo Brasilia Recife Beijing Shanghai
    """),
    _words("""
        北京 上海 广州 深圳 天津 重庆 成都 杭州 南京 武汉 西安 苏州 青岛 大连 厦门 宁波 长沙 郑州 济南 沈阳 昆明
        合肥 福州 南昌 贵阳 太原 兰州 海口 南宁 拉萨 银川 西宁 无锡 常州 温州 珠海 东莞 佛山 烟台 洛阳 桂林 三亚
        台北 香港 澳门 东京 大阪 首尔 巴黎 伦敦 柏林 罗马 纽约 悉尼 曼谷 河内 开罗 莫斯科 新加坡 洛杉矶 哈尔滨
        石家庄 呼和浩特 乌鲁木齐
    """),
)
# Never in the training data: cities and names of the second evaluation split.
UNSEEN_CITIES = (
    _words("""
        Stockholm Copenhagen Valencia Bologna Leipzig Bremen Salzburg Nantes Ankeny Tirana Minsk Baku Tbilisi
        Tashkent Colombo Medina Casablanca Kampala Harare Orlando Phoenix Memphis Cordoba Rosario
    """),
    _words("长春 徐州 泉州 扬州 绍兴 大理 丽江 威海 中山 湖州 镇江 宜昌 首都 汉口 清迈 维也纳"),
)
NAMES = (
    _words("""
        Anna Ben Clara David Emma Felix Grace Henry Ivan Julia Karl Laura Maria Nina Oscar Paula Robert Sara Thomas
        Victor Alice Bruno Diana Edward Fiona George Hannah Igor Jack Kate Leo Martin Nora Olga Peter Rosa Simon
        Tina Walter Yuri
    """),
    _words("""
        小明 小红 小李 小王 小张 老陈 老赵 王芳 李娜 张伟 刘洋 陈静 杨帆 赵敏 周杰 吴刚 妈妈 爸爸 奶奶 姐姐 弟弟
        老师 医生 经理
    """),
)
UNSEEN_NAMES = (
    _words("Agnes Bernard Celia Dominic Elena Gustav"),
    _words("小刚 小丽 老周 孙悦 郭涛 叔叔"),
)
MEETINGS = (
    _words("call meet email visit thank help phone"),
    _words("给{}打电话 和{}开会 见{} 给{}发邮件 感谢{} 接{} 帮助{}"),
)
GOODS = (
    _words(
        "milk bread rice tea coffee fruit flowers paper shoes books eggs apples sugar cheese tickets stamps soap fish"
    ),
    _words("牛奶 面包 大米 茶叶 咖啡 水果 鲜花 鞋子 书 鸡蛋 苹果 白糖 车票 邮票 肥皂 鱼"),
)
SHOPPING = (
    _words("buy order bring find pack sell"),
    _words("买{} 订{} 带{} 找{} 洗{} 卖{}"),
)
CHORES = (
    [
        "feed the cat",
        "water the plants",
        "take a break",
        "go to bed",
        "walk the dog",
        "clean the room",
        "check the mail",
    ],
    ["喝水", "吃药", "睡觉", "跑步", "写作业", "打扫房间", "喂猫", "浇花", "休息"],
)
CURRENCIES = ("USD", "EUR", "GBP", "CNY", "JPY", "INR", "CHF", "CAD")
CURRENCY_NAMES = (
    ("dollars", "euros", "pounds", "yuan", "yen", "rupees", "francs", "Canadian dollars"),
    ("美元", "欧元", "英镑", "人民币", "日元", "卢比", "瑞士法郎", "加元"),
)
# Parts of made-up places.
ONSETS = _words("B C D F G H J K L M N P R S T V W Z Br Dr Gr Kr Pr Sh St Th Tr")
VOWELS = _words("a e i o u ai ea ou")
ENDINGS = _words("n r s l m d k ra na li ton ville burg mere nia ro ta lo")
PLACE_CHARACTERS = (
    "东西南北江河山海林木石金银玉龙凤平安和永新长高清白青红黄水云风春秋华阳阴明光城州港湾岭泉桥塔源乐康庆泰兴隆昌宁波"
)
