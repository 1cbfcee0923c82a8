# docker build .                        for processors
# docker build --build-arg DEVICE=cuda .   for NVIDIA GPUs too
ARG PYTHON=3.12.11-slim-bookworm

FROM python:${PYTHON} AS packages
ARG DEVICE=cpu
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /build
COPY requirements.txt requirements-demo.txt ./
# PyPI's torch brings CUDA with it; the index of processors has one without, a tenth of the size
RUN case "$DEVICE" in \
        cpu) index=https://download.pytorch.org/whl/cpu ;; \
        cuda) index=https://pypi.org/simple ;; \
        *) echo "DEVICE is '$DEVICE'; expected cpu or cuda" >&2; exit 1 ;; \
    esac \
    && pip install --no-cache-dir --index-url "$index" "$(grep '^torch==' requirements.txt)" \
    && pip install --no-cache-dir -r requirements.txt -r requirements-demo.txt

FROM packages AS development
COPY requirements-dev.txt ./
RUN pip install --no-cache-dir -r requirements-dev.txt \
    && useradd --create-home --uid 1000 flemme
USER 1000

FROM packages AS installed
COPY pyproject.toml README.md LICENSE ./
COPY flemme_monai flemme_monai
RUN pip install --no-cache-dir --no-deps .

FROM python:${PYTHON} AS final
RUN useradd --create-home --uid 1000 flemme \
    && install --directory --owner flemme /data /outputs
COPY --from=installed /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    MPLCONFIGDIR=/tmp/matplotlib \
    NUMBA_CACHE_DIR=/tmp/numba
WORKDIR /home/flemme
COPY --chown=flemme bundles bundles
USER 1000
EXPOSE 7860
CMD ["flemme-monai", "demo", "--address", "0.0.0.0", "--port", "7860"]
