"""The report as one page: all in it, and nothing of a stranger's alive."""

from lifecycle.views.html import render_page

PAGE = """## ✅ pass: it may

> [!CAUTION]
> - slower

| metric | model |
| :-- | --: |
| error | **1.0** |

```mermaid
xychart-beta
```

<details><summary>Data</summary>

&#60;script&#62;alert(1)&#60;/script&#62;

</details>
"""


def test_page_holds_report_plots_and_card() -> None:
    card = "# Card\n\n![slices](plots/slices.png)\n<b>raw</b>"
    page = render_page("pass: <it> may", PAGE, card, {"slices": b"a picture"})

    assert "<title>pass: &lt;it&gt; may</title>" in page
    assert "<strong>Caution</strong>" in page
    assert "<td" in page
    assert "<details>" in page
    assert 'src="data:image/png;base64,YSBwaWN0dXJl"' in page
    assert "<h1>Card</h1>" in page
    # Neither charts that need a script, nor what somebody wrote into a name.
    assert "xychart" not in page
    assert "<script" not in page
    assert "<b>raw" not in page
    assert "plots/slices.png" not in page
